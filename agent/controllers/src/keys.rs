//! The two keys of a computer: its identity and its mesh key.

use meadow_host::SystemEntropy;
use meadow_host::entropy::EntropyError;
use meadow_host::files::{self, Access, FileError};
use meadow_host::wireguard::PrivateKey;
use meadow_pki::{Identity, PkiError};
use zeroize::Zeroizing;

use crate::paths::StateFiles;
use crate::stored::{self, StoredError};

/// The identity and the mesh key. They never leave the computer.
pub struct Keys {
    /// Who the computer is.
    pub identity: Identity,
    /// Its key in the mesh.
    pub wireguard: PrivateKey,
}

/// The keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file.
    #[error(transparent)]
    Stored(#[from] StoredError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The mesh key's file has the wrong length.
    #[error("the mesh key has {0} bytes instead of 32; restore it from a backup, or remove the node and enrol again")]
    WireGuardLength(usize),
}

impl Keys {
    /// Reads the keys, making the ones that are missing. Each is written before it is used, so a crash in between only
    /// leaves a key that the next start takes.
    ///
    /// # Errors
    /// [`KeysError`]
    pub fn load_or_make(files: &StateFiles) -> Result<Self, KeysError> {
        let identity = match stored::load_text(&files.identity_key())? {
            Some(pem) => Identity::from_key_pem(&pem)?,
            None => {
                let identity = Identity::generate()?;
                files::replace(&files.identity_key(), identity.key_pem().expose().as_bytes(), Access::Private)?;
                identity
            }
        };
        let wireguard = match files::read_optional(&files.wireguard_key(), 64)? {
            Some(bytes) => {
                let bytes = Zeroizing::new(bytes);
                let key =
                    <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| KeysError::WireGuardLength(bytes.len()))?;
                PrivateKey::from_bytes(Zeroizing::new(key))
            }
            None => {
                let key = PrivateKey::generate(&SystemEntropy)?;
                files::replace(&files.wireguard_key(), key.expose(), Access::Private)?;
                key
            }
        };
        Ok(Self { identity, wireguard })
    }

    /// Takes the keys away, for a computer whose keys its cluster refuses; [`Keys::load_or_make`] makes new ones.
    ///
    /// # Errors
    /// [`KeysError`]
    pub fn forget(files: &StateFiles) -> Result<(), KeysError> {
        files::remove(&files.identity_key())?;
        Ok(files::remove(&files.wireguard_key())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_kept() {
        let dir = tempfile::tempdir().expect("folder");
        let files = StateFiles::new(dir.path());
        let made = Keys::load_or_make(&files).expect("made");
        let kept = Keys::load_or_make(&files).expect("kept");
        assert_eq!(made.identity.fingerprint(), kept.identity.fingerprint());
        assert_eq!(made.wireguard.public_key(), kept.wireguard.public_key());
    }

    #[test]
    fn keys_that_were_forgotten_do_not_come_back() {
        let dir = tempfile::tempdir().expect("folder");
        let files = StateFiles::new(dir.path());
        let old = Keys::load_or_make(&files).expect("made");
        Keys::forget(&files).expect("forgotten");
        Keys::forget(&files).expect("again, after a crash in between");
        let new = Keys::load_or_make(&files).expect("made");
        assert_ne!(old.identity.fingerprint(), new.identity.fingerprint());
        assert_ne!(old.wireguard.public_key(), new.wireguard.public_key());
    }

    #[test]
    fn a_cut_mesh_key_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().expect("folder");
        let files = StateFiles::new(dir.path());
        Keys::load_or_make(&files).expect("made");
        std::fs::write(files.wireguard_key(), [1; 31]).expect("cut");
        assert!(matches!(Keys::load_or_make(&files), Err(KeysError::WireGuardLength(31))));
        assert_eq!(std::fs::read(files.wireguard_key()).expect("read").len(), 31);
    }
}
