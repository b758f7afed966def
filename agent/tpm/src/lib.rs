//! Secrets that a TPM 2.0 keeps and gives back only to the initramfs of an image that we signed.
//!
//! The scheme is that of `systemd-cryptenroll --tpm2-public-key`: an image's build signs what the image will measure into
//! PCR 11 ([`Signatures`]), and what is sealed asks for a signature by that key ([`ImageKey`]) and not for a value; so the next
//! image opens it without being enrolled. Beside that it asks for PCR 7 as it was (Secure Boot), for a PCR 15 that nobody
//! has measured into yet ([`Tpm::close`] does at the initramfs's end), and for a [`Pin`] where one is wanted.
//!
//! Everything secret travels in sessions that are salted with the TPM's storage key and encrypted. `docs/decisions/0007-tpm.md`
//! says why there is no library of others beneath, and what all this does not protect from.

mod command;
mod crypto;
mod error;
mod image_key;
pub mod pcr;
mod pin;
mod policy;
mod response;
mod sealed;
mod session;
mod storage_key;
mod transport;
mod tries;
pub mod uki;
mod wire;

pub use error::TpmError;
pub use image_key::{ImageKey, Signatures};
pub use pin::{LENGTH as PIN_LENGTH, Pin};
pub use policy::of_image as image_policy;
pub use sealed::{Conditions, LARGEST, Sealed};
pub use transport::{DEVICE, Stream, Tpm};
pub use tries::Tries;
