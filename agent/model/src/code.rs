//! The short code that a person compares between a console and an approval.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Fingerprint;

/// Letters of the code: Crockford's base 32, without the ones that look alike.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Eight characters, `K7QX-2M4P`, that are the same on a machine's console and at the cluster only if nobody sits
/// between the two.
///
/// Both sides compute it from both public keys and from a nonce of each. The machine commits to its nonce before it
/// sees the cluster's, so somebody in the middle gets one guess in 2⁴⁰ and cannot search for keys that happen to match
/// (the scheme of a short authentication string, RFC 6189 section 4.4.1).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(value_type = String, examples("K7QX-2M4P"))]
#[serde(transparent)]
pub struct VerificationCode(String);

impl VerificationCode {
    /// Computes the code of one enrolment.
    #[must_use]
    pub fn compute(
        cluster: &Fingerprint,
        machine: &Fingerprint,
        machine_nonce: &[u8; 32],
        cluster_nonce: &[u8; 32],
    ) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"meadow verification code 1");
        for part in [&cluster.0, &machine.0, machine_nonce, cluster_nonce] {
            hash.update(part);
        }
        let bits = hash.finalize().iter().take(5).fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
        let mut code: String = (0..8_u32)
            .map(|i| {
                ALPHABET.get(usize::try_from((bits >> (35 - 5 * i)) & 31).unwrap_or(0)).map_or('0', |c| char::from(*c))
            })
            .collect();
        code.insert(4, '-');
        Self(code)
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The commitment to a nonce that is revealed later.
#[must_use]
pub fn commitment(machine_nonce: &[u8; 32]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"meadow nonce commitment 1");
    hash.update(machine_nonce);
    hash.finalize().into()
}

impl fmt::Display for VerificationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for VerificationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_changed_input_changes_the_code(a: [u8; 32], b: [u8; 32], c: [u8; 32], d: [u8; 32], which in 0..4_usize, bit in 0..256_usize) {
            let code = |p: [[u8; 32]; 4]| VerificationCode::compute(&Fingerprint(p[0]), &Fingerprint(p[1]), &p[2], &p[3]);
            let before = [a, b, c, d];
            let mut after = before;
            after[which][bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(code(before), code(after));
        }
    }

    #[test]
    fn eight_unambiguous_characters_in_two_groups() {
        let zero = Fingerprint([0; 32]);
        let code = VerificationCode::compute(&zero, &zero, &[0; 32], &[0; 32]);
        assert_eq!(code.as_str().len(), 9);
        assert!(
            code.as_str().bytes().enumerate().all(|(i, b)| if i == 4 { b == b'-' } else { ALPHABET.contains(&b) }),
            "{code}"
        );
    }
}
