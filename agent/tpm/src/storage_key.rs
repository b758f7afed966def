//! The storage key: the parent of what is sealed. The TPM derives it from its own seed each time, always the same one, until
//! its owner clears it.

use crate::TpmError;
use crate::command::{Auth, Code, OWNER};
use crate::crypto::{self, DIGEST};
use crate::transport::Tpm;
use crate::wire::{Reader, Writer};

/// `TPM_ALG_SHA256`, `TPM_ALG_ECC`, `TPM_ALG_NULL`.
pub(crate) const SHA256: u16 = 0x000b;
const ECC: u16 = 0x0023;
pub(crate) const NULL_ALGORITHM: u16 = 0x0010;
/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, decrypt.
const ATTRIBUTES: u32 = 0x0003_0472;
const P256: u16 = 0x0003;

/// The storage key, loaded.
pub(crate) struct StorageKey {
    pub(crate) handle: u32,
    pub(crate) name: Vec<u8>,
    pub(crate) x: Vec<u8>,
    pub(crate) y: Vec<u8>,
}

impl StorageKey {
    /// Derives and loads it.
    pub(crate) fn load(tpm: &mut Tpm) -> Result<Self, TpmError> {
        let mut public = Writer::new();
        public.u16(ECC).u16(SHA256).u32(ATTRIBUTES).u16(0);
        // AES-128-CFB for what is below it, no scheme, P-256, no KDF, no unique part.
        public.u16(0x0006).u16(128).u16(0x0043).u16(NULL_ALGORITHM).u16(P256).u16(NULL_ALGORITHM).u16(0).u16(0);
        let mut parameters = Writer::new();
        // No value and no data of our own; nothing outside, no PCRs in its creation data.
        parameters.u16(4).u16(0).u16(0).sized(public.as_slice()).u16(0).u32(0);
        let answer = tpm.run(Code::CreatePrimary, &[OWNER], Auth::Empty, &mut parameters)?;
        let found = answer.reader().sized()?.to_vec();
        let (x, y) = point(&found)?;
        Ok(Self { handle: answer.handle()?, name: name(&found), x, y })
    }
}

/// The name of an object: what is known of it publicly, as a digest with its algorithm before it.
pub(crate) fn name(public: &[u8]) -> Vec<u8> {
    let digest: [u8; DIGEST] = crypto::sha256(&[public]);
    [&SHA256.to_be_bytes()[..], &digest].concat()
}

/// The coordinates in the public part; its other fields have to be those that were asked for.
fn point(public: &[u8]) -> Result<(Vec<u8>, Vec<u8>), TpmError> {
    let mut reader = Reader::new(public);
    let (kind, hash, attributes, policy) = (reader.u16()?, reader.u16()?, reader.u32()?, reader.sized()?);
    if (kind, hash, attributes) != (ECC, SHA256, ATTRIBUTES) || !policy.is_empty() {
        return Err(TpmError::BadAnswer("its storage key is another one than was asked for"));
    }
    reader.take(12)?;
    Ok((reader.sized()?.to_vec(), reader.sized()?.to_vec()))
}
