//! Response codes (TPM 2.0 Library, Part 2, section 6.6).

use crate::TpmError;

/// `TPM_RC_AUTH_FAIL` and `TPM_RC_BAD_AUTH`: a wrong value, the first one counted.
const AUTH_FAIL: u32 = 0x08e;
const BAD_AUTH: u32 = 0x0a2;
/// `TPM_RC_POLICY_FAIL`.
const POLICY_FAIL: u32 = 0x09d;
/// `TPM_RC_INTEGRITY`: sealed by another parent, or damaged.
const INTEGRITY: u32 = 0x09f;
/// `TPM_RC_SIGNATURE`.
const SIGNATURE: u32 = 0x09b;
/// `TPM_RC_LOCKOUT`.
pub(crate) const LOCKOUT: u32 = 0x921;
/// `TPM_RC_PCR_CHANGED`: somebody measured meanwhile.
const PCR_CHANGED: u32 = 0x128;

/// `TPM_RC_YIELDED` and `TPM_RC_RETRY`: it was busy with its own memory, and the same command is to come again.
pub(crate) fn is_not_begun(code: u32) -> bool {
    matches!(code, 0x908 | 0x922)
}

/// The code without the number of the handle, parameter or session that it is about.
pub(crate) fn plain(code: u32) -> u32 {
    // Bit 7: format one, whose number is in bits 0 to 5.
    if code & 0x80 == 0 { code } else { code & 0x0bf }
}

pub(crate) fn is_wrong_value(code: u32) -> bool {
    matches!(plain(code), AUTH_FAIL | BAD_AUTH)
}

pub(crate) fn is_policy(code: u32) -> bool {
    plain(code) == POLICY_FAIL
}

pub(crate) fn refused(action: &'static str, code: u32) -> TpmError {
    let hint = match plain(code) {
        AUTH_FAIL | BAD_AUTH => {
            "its owner has set a password that Meadow does not know: clear the TPM in the firmware's setup"
        }
        POLICY_FAIL => "what this machine started is not what it was sealed for",
        INTEGRITY => "it was sealed by another TPM, or is damaged: add the TPM slot again",
        SIGNATURE => "the signature is not by the key that it was sealed for",
        LOCKOUT => "too many wrong PINs: wait, or use a passphrase",
        PCR_CHANGED => "something was measured meanwhile: try again",
        _ => "update its firmware, or go on without the TPM slot",
    };
    TpmError::Refused { action, code, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_recognised_with_and_without_their_place() {
        // As swtpm says them: session 1, parameter 1, handle 1.
        for code in [0x98e, 0x08e, 0x9a2] {
            assert!(is_wrong_value(code), "{code:#x}");
        }
        assert_eq!(
            (plain(0x99d), plain(0x1df), plain(0x921), plain(0x128)),
            (POLICY_FAIL, INTEGRITY, LOCKOUT, PCR_CHANGED)
        );
        assert!(!is_wrong_value(0x921) && !is_wrong_value(0x1df));
    }
}
