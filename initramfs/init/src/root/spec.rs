//! `/meadow/root.json`: which root image belongs to this initrd.

use serde::Deserialize;

use super::Artifact;

/// Blocks of the file system, the hash tree and the loop device.
pub(super) const BLOCK: u64 = 4096;
/// No root image is larger: the machines have little memory.
const LARGEST: u64 = 4 << 30;
const SHA256_HEX: usize = 64;
const LONGEST_SALT: usize = 512;

/// The image's name, size and digests, fixed when the initrd was built.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RootSpec {
    /// Name among the server's artifacts.
    pub name: String,
    /// Bytes of the whole file.
    pub size: u64,
    /// SHA-256 of the whole file, in hex.
    pub sha256: String,
    /// Bytes of the file system, which the hash tree covers.
    pub data_size: u64,
    /// Where the hash tree (or its superblock) begins.
    pub hash_offset: u64,
    /// The hash tree's root, in hex.
    pub root_hash: String,
    /// The hash tree's salt, in hex; may be empty.
    pub salt: String,
}

/// The initrd was built wrongly.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Not the JSON we expect.
    #[error("/meadow/root.json cannot be read: {0}; build the initrd again")]
    Json(#[from] serde_json::Error),
    /// A field has an impossible value.
    #[error("/meadow/root.json has an impossible {0}; build the initrd again")]
    Field(&'static str),
}

impl RootSpec {
    /// The whole file, as a server has it.
    #[must_use]
    pub fn artifact(&self) -> Artifact {
        Artifact { name: self.name.clone(), size: self.size, sha256: self.sha256.clone() }
    }

    /// Parses and checks the file.
    ///
    /// # Errors
    /// If it is no sound description of an image.
    pub fn parse(json: &[u8]) -> Result<Self, SpecError> {
        let spec: Self = serde_json::from_slice(json)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if spec.name.is_empty() || spec.name.starts_with('.') || !spec.name.bytes().all(plain) {
            return Err(SpecError::Field("name"));
        }
        if spec.size == 0 || spec.size > LARGEST || !spec.size.is_multiple_of(BLOCK) {
            return Err(SpecError::Field("size"));
        }
        if spec.data_size == 0 || !spec.data_size.is_multiple_of(BLOCK) || spec.data_size > spec.hash_offset {
            return Err(SpecError::Field("data_size"));
        }
        if !spec.hash_offset.is_multiple_of(BLOCK) || spec.hash_offset >= spec.size {
            return Err(SpecError::Field("hash_offset"));
        }
        for (field, value) in [("sha256", &spec.sha256), ("root_hash", &spec.root_hash)] {
            if value.len() != SHA256_HEX || !is_hex(value) {
                return Err(SpecError::Field(field));
            }
        }
        if spec.salt.len() > LONGEST_SALT || !spec.salt.len().is_multiple_of(2) || !is_hex(&spec.salt) {
            return Err(SpecError::Field("salt"));
        }
        Ok(spec)
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::root) fn spec() -> RootSpec {
        RootSpec {
            name: "root.img".to_owned(),
            size: 4 * BLOCK,
            sha256: "ab".repeat(32),
            data_size: 2 * BLOCK,
            hash_offset: 2 * BLOCK,
            root_hash: "cd".repeat(32),
            salt: "0123".to_owned(),
        }
    }

    fn parsed(change: impl Fn(&mut serde_json::Value)) -> Result<RootSpec, SpecError> {
        let s = spec();
        let mut json = serde_json::json!({
            "name": s.name, "size": s.size, "sha256": s.sha256, "data_size": s.data_size,
            "hash_offset": s.hash_offset, "root_hash": s.root_hash, "salt": s.salt,
        });
        change(&mut json);
        RootSpec::parse(json.to_string().as_bytes())
    }

    #[test]
    fn a_sound_one_is_read() {
        assert_eq!(parsed(|_| {}).unwrap(), spec());
    }

    #[test]
    fn impossible_values_are_named() {
        for (field, value) in [
            ("name", serde_json::json!("../etc/passwd")),
            ("name", serde_json::json!(".hidden")),
            ("size", serde_json::json!(5000)),
            ("size", serde_json::json!(1_u64 << 40)),
            ("data_size", serde_json::json!(3 * BLOCK)),
            ("hash_offset", serde_json::json!(4 * BLOCK)),
            ("sha256", serde_json::json!("ab")),
            ("root_hash", serde_json::json!("XY".repeat(32))),
            ("salt", serde_json::json!("012")),
        ] {
            let error = parsed(|json| json[field] = value.clone()).unwrap_err();
            assert!(matches!(error, SpecError::Field(named) if named == field), "{field}: {error}");
        }
        assert!(matches!(RootSpec::parse(b"{}"), Err(SpecError::Json(_))));
    }
}
