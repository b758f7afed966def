//! Names of resources.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of a resource: a DNS label (RFC 1123 section 2.1), since names of nodes are looked up in `/etc/hosts`.
///
/// One to 63 lower-case letters, digits and hyphens; no hyphen at either end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(value_type = String, pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", examples("node-1"))]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a name: {why}; use 1 to 63 of a-z, 0-9 and hyphen, with no hyphen at either end")]
pub struct InvalidName {
    text: String,
    why: &'static str,
}

impl Name {
    /// Checks `text`.
    ///
    /// # Errors
    /// [`InvalidName`] says which rule it breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
        let text = text.into();
        let why = if text.is_empty() {
            "it is empty"
        } else if text.len() > 63 {
            "it is longer than 63 characters"
        } else if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            "it has a character other than a-z, 0-9 and hyphen"
        } else if text.starts_with('-') || text.ends_with('-') {
            "it starts or ends with a hyphen"
        } else {
            return Ok(Self(text));
        };
        Err(InvalidName { text: text.chars().take(80).collect(), why })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl std::str::FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn dns_labels_and_nothing_else() {
        for good in ["a", "node-1", "0", &"x".repeat(63)] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a b", "a\n", "é", &"x".repeat(64)] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
    }
}
