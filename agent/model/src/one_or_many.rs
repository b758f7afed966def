//! A list in a file of settings that may be written as a single text.

use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

/// Reads `"eth0"` as `["eth0"]`, and a list as it is; for `#[serde(deserialize_with)]`.
///
/// # Errors
/// When it is neither.
pub fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    deserializer.deserialize_any(OneOrMany)
}

struct OneOrMany;

impl<'de> Visitor<'de> for OneOrMany {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E>(self, one: &str) -> Result<Self::Value, E> {
        Ok(vec![one.to_owned()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, many: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(many))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_a_list_of_one() {
        let read = |json: &str| one_or_many(&mut serde_json::Deserializer::from_str(json));
        assert_eq!(read(r#""eth0""#).expect("one"), ["eth0"]);
        assert_eq!(read(r#"["eth0", "lan0.20"]"#).expect("many"), ["eth0", "lan0.20"]);
        for bad in ["7", "[7]", "null"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
