//! The key that signs what images measure into PCR 11 (`.pcrpkey` of a unified kernel image), and its signatures (`.pcrsig`).

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use serde::Deserialize;

use crate::TpmError;
use crate::command::{Auth, Code, OWNER};
use crate::policy::Digest;
use crate::storage_key::{self, NULL_ALGORITHM, SHA256};
use crate::transport::Tpm;
use crate::wire::Writer;

const WHAT: &str = "the public key that signs images";
/// `TPM_ALG_RSA`, `TPM_ALG_RSASSA`.
const RSA: u16 = 0x0001;
const RSASSA: u16 = 0x0014;
/// userWithAuth, sign.
const ATTRIBUTES: u32 = 0x0004_0040;
/// Every TPM 2.0 verifies RSA with 2048 bits; hardly one more.
const MODULUS: usize = 256;
/// `{SEQUENCE {SEQUENCE {rsaEncryption, NULL}, BIT STRING {SEQUENCE {INTEGER of 257 bytes, INTEGER of 3 bytes}}}}` up to the
/// modulus, and from there: RFC 8017 and 5280 leave one form only for RSA with 2048 bits and the exponent 65537.
const BEFORE: [u8; 33] = [
    0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
    0x03, 0x82, 0x01, 0x0f, 0x00, 0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00,
];
const AFTER: [u8; 5] = [0x02, 0x03, 0x01, 0x00, 0x01];
/// Longest file with signatures.
const LONGEST: usize = 64 << 10;

/// The public half of the key that signs images: RSA with 2048 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageKey {
    der: Vec<u8>,
}

impl ImageKey {
    /// Reads a key in PEM (`BEGIN PUBLIC KEY`).
    ///
    /// # Errors
    /// [`TpmError::BadInput`]
    pub fn from_pem(pem: &[u8]) -> Result<Self, TpmError> {
        let text = std::str::from_utf8(pem).map_err(|error| TpmError::input(WHAT, error))?;
        let body = text.trim_matches(['\0', '\n', '\r', ' ']);
        let body = body.strip_prefix("-----BEGIN PUBLIC KEY-----");
        let body = body.and_then(|body| body.strip_suffix("-----END PUBLIC KEY-----"));
        let body = body.ok_or_else(|| TpmError::input(WHAT, "it is no public key in PEM"))?;
        let packed: String = body.split_ascii_whitespace().collect();
        Self::from_der(&BASE64.decode(packed.as_bytes()).map_err(|error| TpmError::input(WHAT, error))?)
    }

    /// Reads a key in DER.
    ///
    /// # Errors
    /// [`TpmError::BadInput`]
    pub fn from_der(der: &[u8]) -> Result<Self, TpmError> {
        let whole = der.len() == BEFORE.len() + MODULUS + AFTER.len();
        if whole && der.starts_with(&BEFORE) && der.ends_with(&AFTER) {
            return Ok(Self { der: der.to_vec() });
        }
        Err(TpmError::input(WHAT, "only RSA with 2048 bits and the exponent 65537 is known to every TPM"))
    }

    /// The key in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    fn modulus(&self) -> &[u8] {
        self.der.get(BEFORE.len()..BEFORE.len() + MODULUS).unwrap_or_default()
    }

    fn public(&self) -> Vec<u8> {
        let mut public = Writer::new();
        public.u16(RSA).u16(SHA256).u32(ATTRIBUTES).u16(0);
        // No symmetric cipher, no scheme; 0 is the usual exponent.
        public.u16(NULL_ALGORITHM).u16(NULL_ALGORITHM).u16(2048).u32(0).sized(self.modulus());
        public.as_slice().to_vec()
    }

    /// The name by which a policy knows it.
    pub(crate) fn name(&self) -> Vec<u8> {
        storage_key::name(&self.public())
    }

    /// Lets the TPM check that `signature` approves of `policy`; the ticket that says so.
    pub(crate) fn approve(&self, tpm: &mut Tpm, policy: &Digest, signature: &[u8]) -> Result<Vec<u8>, TpmError> {
        let mut parameters = Writer::new();
        // No private part.
        parameters.u16(0).sized(&self.public()).u32(OWNER);
        let handle = tpm.run(Code::LoadExternal, &[], Auth::None, &mut parameters)?.handle()?;
        let mut parameters = Writer::new();
        parameters.sized(&crate::crypto::sha256(&[policy])).u16(RSASSA).u16(SHA256).sized(signature);
        let ticket = tpm.run(Code::VerifySignature, &[handle], Auth::None, &mut parameters);
        tpm.forget(handle);
        Ok(ticket?.reader().rest().to_vec())
    }
}

/// Signatures over what an image may measure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signatures(Vec<(Vec<u8>, Vec<u8>)>);

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    sha256: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    pcrs: Vec<u8>,
    pol: String,
    sig: String,
}

impl Signatures {
    /// Reads the file that systemd-measure(1) writes; what is for other registers or banks is left out.
    ///
    /// # Errors
    /// [`TpmError::BadInput`]
    pub fn parse(json: &[u8]) -> Result<Self, TpmError> {
        const WHAT: &str = "the image's file of signatures";
        if json.len() > LONGEST {
            return Err(TpmError::input(WHAT, "it is too long"));
        }
        // A section of an image is filled up with zeros.
        let end = json.iter().position(|byte| *byte == 0).unwrap_or(json.len());
        let file: File = serde_json::from_slice(json.get(..end).unwrap_or_default())
            .map_err(|error| TpmError::input(WHAT, error))?;
        let mut known = Vec::new();
        for entry in file.sha256.into_iter().filter(|entry| entry.pcrs == [crate::pcr::IMAGE]) {
            let policy = HEXLOWER_PERMISSIVE.decode(entry.pol.as_bytes());
            let signature = BASE64.decode(entry.sig.as_bytes());
            known.push((
                policy.map_err(|error| TpmError::input(WHAT, error))?,
                signature.map_err(|error| TpmError::input(WHAT, error))?,
            ));
        }
        Ok(Self(known))
    }

    /// Whether one of them is for an image that measured this. By whom it is, only a TPM can say here.
    #[must_use]
    pub fn are_for(&self, image: crate::pcr::Value) -> bool {
        self.over(&crate::policy::of_image(image)).is_some()
    }

    /// The signature over a policy.
    pub(crate) fn over(&self, policy: &Digest) -> Option<&[u8]> {
        self.0.iter().find(|(signed, _)| signed == policy).map(|(_, signature)| signature.as_slice())
    }
}
