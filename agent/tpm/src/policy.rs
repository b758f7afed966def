//! When the TPM gives back what was sealed: computed here as the TPM computes it (Part 3, section 23).
//!
//! In this order: PCR 11 has a value that the image key signed; the other registers have these values; the PIN is known.

use std::collections::BTreeMap;

use crate::command::Code;
use crate::crypto::{self, DIGEST};
use crate::pcr::{self, Value};

/// The digest of a policy.
pub(crate) type Digest = [u8; DIGEST];

fn next(before: &Digest, code: Code, more: &[&[u8]]) -> Digest {
    let number = code.number().to_be_bytes();
    let pieces: Vec<&[u8]> = [&before[..], &number].into_iter().chain(more.iter().copied()).collect();
    crypto::sha256(&pieces)
}

/// `PolicyPCR`.
pub(crate) fn registers(before: &Digest, values: &BTreeMap<u8, Value>) -> Digest {
    let pieces: Vec<&[u8]> = values.values().map(<[u8; DIGEST]>::as_slice).collect();
    next(before, Code::PolicyPcr, &[&pcr::selection(values.keys().copied()), &crypto::sha256(&pieces)])
}

/// `PolicyAuthorize`: whatever came before, the owner of this key has approved of it.
fn authorized(key_name: &[u8]) -> Digest {
    let named = next(&[0; DIGEST], Code::PolicyAuthorize, &[key_name]);
    // A reference, which is empty here.
    crypto::sha256(&[&named])
}

/// What the image key signs for an image that measures `value` into PCR 11: the digest of the policy that asks for it.
#[must_use]
pub fn of_image(value: Value) -> [u8; DIGEST] {
    registers(&[0; DIGEST], &BTreeMap::from([(pcr::IMAGE, value)]))
}

/// The whole policy.
pub(crate) fn whole(key_name: &[u8], values: &BTreeMap<u8, Value>, pin: bool) -> Digest {
    let with_registers = registers(&authorized(key_name), values);
    if pin { next(&with_registers, Code::PolicyAuthValue, &[]) } else { with_registers }
}
