//! The dm-verity table of the root image, without devices.

use super::spec::{BLOCK, RootSpec};

/// The hash area is not what `root.json` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerityError {
    /// A superblock is there, but of another version or algorithm.
    #[error(
        "the root image's dm-verity superblock does not fit /meadow/root.json: its {0} differs; build the image again"
    )]
    Superblock(&'static str),
}

const SIGNATURE: &[u8; 8] = b"verity\0\0";

/// The `verity` target's parameters (the kernel's `verity.rst`) for an image on `device`.
/// `hash_area` holds the first bytes at the hash offset: `veritysetup` puts a superblock there
/// unless told not to, and the tree one block later.
///
/// # Errors
/// If a superblock is there and contradicts `spec`.
pub fn table(spec: &RootSpec, device: &str, hash_area: &[u8]) -> Result<String, VerityError> {
    let blocks = spec.data_size / BLOCK;
    let mut hash_start = spec.hash_offset / BLOCK;
    if let Some(superblock) = hash_area.strip_prefix(SIGNATURE) {
        check(superblock, blocks)?;
        hash_start += 1;
    }
    let salt = if spec.salt.is_empty() { "-" } else { &spec.salt };
    Ok(format!("1 {device} {device} {BLOCK} {BLOCK} {blocks} {hash_start} sha256 {} {salt}", spec.root_hash))
}

/// Fields behind the signature: version, hash type, uuid, algorithm, block sizes, blocks.
fn check(superblock: &[u8], blocks: u64) -> Result<(), VerityError> {
    let field = |at: usize, len: usize| superblock.get(at..at + len).unwrap_or_default();
    let block = u32::try_from(BLOCK).unwrap_or_default().to_le_bytes();
    let mut algorithm = [0; 32];
    algorithm[..6].copy_from_slice(b"sha256");
    let expected: [(&'static str, usize, &[u8]); 6] = [
        ("version", 0, &1_u32.to_le_bytes()),
        ("hash type", 4, &1_u32.to_le_bytes()),
        ("algorithm", 24, &algorithm),
        ("data block size", 56, &block),
        ("hash block size", 60, &block),
        ("number of blocks", 64, &blocks.to_le_bytes()),
    ];
    for (name, at, value) in expected {
        if field(at, value.len()) != value {
            return Err(VerityError::Superblock(name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::spec::tests::spec;

    fn superblock(blocks: u64) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend_from_slice(&1_u32.to_le_bytes());
        bytes.extend_from_slice(&1_u32.to_le_bytes());
        bytes.extend_from_slice(&[7; 16]);
        bytes.extend_from_slice(b"sha256");
        bytes.resize(64, 0);
        bytes.extend_from_slice(&4096_u32.to_le_bytes());
        bytes.extend_from_slice(&4096_u32.to_le_bytes());
        bytes.extend_from_slice(&blocks.to_le_bytes());
        bytes.resize(512, 0);
        bytes
    }

    #[test]
    fn with_and_without_superblock() {
        let root = "cd".repeat(32);
        assert_eq!(
            table(&spec(), "/dev/loop0", &[0; 512]).unwrap(),
            format!("1 /dev/loop0 /dev/loop0 4096 4096 2 2 sha256 {root} 0123")
        );
        assert_eq!(
            table(&spec(), "/dev/loop0", &superblock(2)).unwrap(),
            format!("1 /dev/loop0 /dev/loop0 4096 4096 2 3 sha256 {root} 0123")
        );
    }

    #[test]
    fn an_empty_salt_is_a_dash() {
        let mut spec = spec();
        spec.salt.clear();
        assert!(table(&spec, "/dev/loop0", &[]).unwrap().ends_with(" -"));
    }

    #[test]
    fn a_contradiction_is_named() {
        assert_eq!(table(&spec(), "d", &superblock(3)), Err(VerityError::Superblock("number of blocks")));
        assert_eq!(table(&spec(), "d", &superblock(2)[..40]), Err(VerityError::Superblock("algorithm")));
        let mut sha512 = superblock(2);
        sha512[35] = b'!';
        assert_eq!(table(&spec(), "d", &sha512), Err(VerityError::Superblock("algorithm")));
    }
}
