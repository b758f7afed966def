//! Join tokens: secrets that a person carries to a machine.

use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use meadow_model::{Fingerprint, Name, Secret};

use crate::proof;

/// What a join token's file holds: `meadow-join.<id>.<secret>.<fingerprint>`.
///
/// It names the cluster's CA, so the machine talks to nobody else, and 160 random bits, from which both ends derive the
/// key that they prove to each other to know: the secret itself never travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// Which token.
    pub id: Name,
    /// The cluster's CA.
    pub ca_fingerprint: Fingerprint,
    secret: Secret<[u8; 20]>,
}

/// A text that is no join token. Does not quote the text, which is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not a join token: it is one line that begins with \"meadow-join.\"; make one with `meadow token create`"
)]
pub struct InvalidToken;

impl JoinToken {
    /// A token of these 20 random bytes.
    #[must_use]
    pub fn from_random(id: Name, ca_fingerprint: Fingerprint, secret: [u8; 20]) -> Self {
        Self { id, ca_fingerprint, secret: Secret::new(secret) }
    }

    /// The text for the file.
    #[must_use]
    pub fn text(&self) -> Secret<String> {
        let secret = BASE32_NOPAD.encode(self.secret.expose()).to_ascii_lowercase();
        let ca = BASE32_NOPAD.encode(&self.ca_fingerprint.0).to_ascii_lowercase();
        Secret::new(format!("meadow-join.{}.{secret}.{ca}", self.id))
    }

    /// The key that both ends derive from the secret, and that the replicated state keeps.
    #[must_use]
    pub fn key(&self) -> Secret<[u8; 32]> {
        Secret::new(proof::mac(self.secret.expose(), &[b"meadow join token 1", self.id.as_str().as_bytes()]))
    }
}

impl FromStr for JoinToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let mut parts = text.trim().split('.');
        if parts.next() != Some("meadow-join") {
            return Err(InvalidToken);
        }
        let id = parts.next().and_then(|id| Name::new(id).ok()).ok_or(InvalidToken)?;
        let mut decode = || {
            let part = parts.next().filter(|part| part.len() <= 64).ok_or(InvalidToken)?;
            BASE32_NOPAD.decode(part.to_ascii_uppercase().as_bytes()).map_err(|_| InvalidToken)
        };
        let secret = decode()?.try_into().map_err(|_| InvalidToken)?;
        let ca = decode()?.try_into().map_err(|_| InvalidToken)?;
        if parts.next().is_some() {
            return Err(InvalidToken);
        }
        Ok(Self::from_random(id, Fingerprint(ca), secret))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_and_back(secret: [u8; 20], ca: [u8; 32]) {
            let token = JoinToken::from_random(Name::new("t-1").expect("valid"), Fingerprint(ca), secret);
            prop_assert_eq!(token.text().expose().parse(), Ok(token.clone()));
            prop_assert_eq!(format!("{}\n", token.text().expose()).parse(), Ok(token));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = text.parse::<JoinToken>();
        }
    }

    #[test]
    fn cut_or_longer_texts_are_refused() {
        let token = JoinToken::from_random(Name::new("t-1").expect("valid"), Fingerprint([7; 32]), [9; 20]);
        let text = token.text();
        for cut in 0..text.expose().len() {
            assert_eq!(text.expose()[..cut].parse::<JoinToken>(), Err(InvalidToken), "{cut}");
        }
        assert_eq!(format!("{}.x", text.expose()).parse::<JoinToken>(), Err(InvalidToken));
    }
}
