//! What a key slot is, in a LUKS2 token of type `meadow`.

use meadow_model::Timestamp;
use meadow_model::install::KeyKind;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Type of our tokens.
pub(crate) const TYPE: &str = "meadow";

/// What is known of a key slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Token {
    #[serde(rename = "type")]
    token_type: String,
    /// Numbers of the slots, as texts: LUKS2's own form. One, or none where the slot was removed.
    keyslots: Vec<String>,
    /// What opens the slot.
    pub kind: KeyKind,
    /// For people.
    pub label: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// What else is needed to open it: the TPM's blobs and policy, the peers' shares.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Token {
    /// Says what slot `slot` is.
    #[must_use]
    pub fn new(slot: u32, kind: KeyKind, label: &str, created: Option<Timestamp>, extra: Map<String, Value>) -> Self {
        Self {
            token_type: TYPE.to_owned(),
            keyslots: vec![slot.to_string()],
            kind,
            label: label.to_owned(),
            created,
            extra,
        }
    }

    /// Number of the slot; `None` where that was removed and the token is left over.
    #[must_use]
    pub fn slot(&self) -> Option<u32> {
        self.keyslots.first()?.parse().ok()
    }

    /// Reads a token; `None` where it is of another type.
    pub(crate) fn parse(value: Value) -> Option<Result<Self, serde_json::Error>> {
        (value.get("type")?.as_str()? == TYPE).then(|| serde_json::from_value(value))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_form_is_the_decisions() {
        let created = Some(Timestamp::from_millis(1_800_000_000_000));
        let extra = json!({"tpm2": {"blob": "AAAA"}}).as_object().unwrap().clone();
        let token = Token::new(3, KeyKind::Tpm2, "TPM", created, extra);
        let value = serde_json::to_value(&token).unwrap();
        assert_eq!(
            value,
            json!({
                "type": "meadow", "keyslots": ["3"], "kind": "tpm2", "label": "TPM",
                "created": created, "tpm2": {"blob": "AAAA"}
            })
        );
        assert_eq!(Token::parse(value).unwrap().unwrap(), token);
        assert_eq!(token.slot(), Some(3));
    }

    #[test]
    fn others_tokens_are_left_alone() {
        assert!(Token::parse(json!({"type": "systemd-tpm2", "keyslots": ["0"]})).is_none());
        assert!(Token::parse(json!({"keyslots": []})).is_none());
        assert!(Token::parse(json!({"type": "meadow", "keyslots": ["0"]})).unwrap().is_err());
    }
}
