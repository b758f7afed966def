//! What can go wrong, and what a person does about it.

use std::io;

/// A TPM did not do it.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// There is none.
    #[error("this computer has no TPM 2.0, or it is switched off in the firmware's setup")]
    NoTpm,
    /// The way to it.
    #[error("the TPM cannot be asked ({0}); restart this machine, and look at the kernel's log if it stays so")]
    Io(#[from] io::Error),
    /// It answered what cannot be.
    #[error("the TPM's answer makes no sense ({0}); restart this machine, and update its firmware if it stays so")]
    BadAnswer(&'static str),
    /// Somebody between us and the TPM changed what it said, or it is broken.
    #[error(
        "an answer of the TPM is not authentic: somebody may sit between processor and TPM; look at the machine before \
         you trust it"
    )]
    Forged,
    /// It refused.
    #[error("the TPM refuses to {action} (code {code:#05x}); {hint}")]
    Refused {
        /// What was asked, as a verb.
        action: &'static str,
        /// The response code.
        code: u32,
        /// What to do.
        hint: &'static str,
    },
    /// It is another TPM than the one that sealed, or its owner cleared it.
    #[error(
        "another TPM sealed this, or this one was cleared since (in the firmware's setup, or with a new mainboard); use a \
         passphrase and add the TPM slot again"
    )]
    AnotherTpm,
    /// What was started is not what was sealed for.
    #[error("{0}; use a passphrase, and add the TPM slot again if this is as you want it")]
    Changed(&'static str),
    /// The image that runs has no signature for what it measures.
    #[error(
        "what this machine started is not an image signed for this TPM slot: PCR 11 has a value that none of the image's \
         signatures is for; use a passphrase, and start an image of your own build"
    )]
    NotSigned,
    /// Nothing was measured.
    #[error("{0}")]
    NotMeasured(&'static str),
    /// A wrong PIN.
    #[error("this is not the PIN; {left} more wrong ones lock the TPM for {seconds} s or longer")]
    WrongPin {
        /// Tries that are left.
        left: u32,
        /// Time after which one try is given back, in seconds.
        seconds: u32,
    },
    /// Too many wrong PINs.
    #[error("too many wrong PINs: the TPM takes none for {seconds} s; wait, or use a passphrase")]
    Locked {
        /// Time after which one try is given back, in seconds.
        seconds: u32,
    },
    /// A PIN is needed.
    #[error("this TPM slot needs its PIN")]
    PinNeeded,
    /// A PIN that is not taken.
    #[error("{0}")]
    BadPin(&'static str),
    /// A public key or a signature file that is none.
    #[error("{what} cannot be used ({why}); build the image again")]
    BadInput {
        /// What.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// What was sealed lies there damaged.
    #[error("what the TPM sealed is damaged ({0}); remove the TPM slot and add it again")]
    Damaged(&'static str),
}

impl TpmError {
    pub(crate) fn input(what: &'static str, why: impl std::fmt::Display) -> Self {
        Self::BadInput { what, why: why.to_string() }
    }
}
