//! Sessions: salted with the TPM's storage key, so that who listens on the bus learns neither what is sealed nor a PIN, and
//! who changes an answer there is found out (TPM 2.0 Library, Part 1, sections 17 to 21).

use zeroize::Zeroizing;

use crate::TpmError;
use crate::command::{Auth, Code};
use crate::crypto::{self, DIGEST};
use crate::storage_key::StorageKey;
use crate::transport::Tpm;
use crate::wire::{Reader, Writer};

/// `TPM_SE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Hmac = 0,
    Policy = 1,
}

/// `TPMA_SESSION`: it stays, its first parameter is encrypted on the way in, or on the way back.
const CONTINUE: u8 = 1;
const DECRYPT: u8 = 1 << 5;
const ENCRYPT: u8 = 1 << 6;
const NULL: u32 = 0x4000_0007;

/// Which way the first parameter is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Secret {
    /// On the way to the TPM.
    In,
    /// On the way back.
    Out,
}

/// An open session.
pub(crate) struct Session {
    pub(crate) handle: u32,
    key: Zeroizing<[u8; DIGEST]>,
    ours: [u8; DIGEST],
    theirs: Vec<u8>,
    secret: Secret,
    /// The value that the object's use is authorised by.
    value: Zeroizing<Vec<u8>>,
    /// Whether the value is a part of the proof, not only of the encryption.
    proves_value: bool,
}

impl Session {
    /// Starts one that only the TPM with this storage key can take part in.
    pub(crate) fn start(tpm: &mut Tpm, kind: Kind, secret: Secret, storage: &StorageKey) -> Result<Self, TpmError> {
        let salt = crypto::salt(&storage.x, &storage.y)?;
        let ours = *crypto::random::<DIGEST>()?;
        let mut point = Writer::new();
        point.sized(&salt.point.0).sized(&salt.point.1);
        let mut parameters = Writer::new();
        parameters.sized(&ours).sized(point.as_slice()).u8(kind as u8);
        // AES-128 in CFB mode; SHA-256.
        parameters.u16(0x0006).u16(128).u16(0x0043).u16(0x000b);
        let answer = tpm.run(Code::StartAuthSession, &[storage.handle, NULL], Auth::None, &mut parameters)?;
        let theirs = answer.reader().sized()?.to_vec();
        let key = crypto::kdf_a(salt.secret.as_slice(), "ATH", &theirs, &ours);
        let handle = answer.handle()?;
        Ok(Self { handle, key, ours, theirs, secret, value: Zeroizing::default(), proves_value: kind == Kind::Hmac })
    }

    /// From now on it authorises by this value, which the policy asks for.
    pub(crate) fn prove(&mut self, value: &[u8]) {
        self.value = Zeroizing::new(value.to_vec());
        self.proves_value = true;
    }

    fn attributes(&self) -> u8 {
        CONTINUE | if self.secret == Secret::In { DECRYPT } else { ENCRYPT }
    }

    /// The session's part of a command; encrypts the first parameter where it is a secret.
    pub(crate) fn authorise(&mut self, code: u32, names: &[&[u8]], parameters: &mut [u8]) -> Result<Vec<u8>, TpmError> {
        self.ours = *crypto::random::<DIGEST>()?;
        if self.secret == Secret::In {
            let material = self.material(&self.ours, &self.theirs);
            if let Some(first) = first_parameter(parameters) {
                crypto::cfb(&material, first, true);
            }
        }
        let mut pieces: Vec<&[u8]> = vec![];
        let number = code.to_be_bytes();
        pieces.push(&number);
        pieces.extend(names);
        pieces.push(parameters);
        let digest = crypto::sha256(&pieces);
        let attributes = self.attributes();
        let proof = crypto::hmac(&self.proof_key(), &[&digest, &self.ours, &self.theirs, &[attributes]]);
        let mut area = Writer::new();
        area.u32(self.handle).sized(&self.ours).u8(attributes).sized(&proof);
        Ok(area.as_slice().to_vec())
    }

    /// Checks that an answer is the TPM's; decrypts its first parameter where it is a secret.
    pub(crate) fn check(&mut self, code: u32, parameters: &mut [u8], area: &[u8]) -> Result<(), TpmError> {
        let mut reader = Reader::new(area);
        self.theirs = reader.sized()?.to_vec();
        let attributes = reader.u8()?;
        let proof = reader.sized()?;
        let digest = crypto::sha256(&[&0_u32.to_be_bytes(), &code.to_be_bytes(), parameters]);
        let pieces: [&[u8]; 4] = [&digest, &self.theirs, &self.ours, &[attributes]];
        if !crypto::hmac_is(&self.proof_key(), &pieces, proof) || attributes != self.attributes() {
            return Err(TpmError::Forged);
        }
        if self.secret == Secret::Out {
            let material = self.material(&self.theirs, &self.ours);
            if let Some(first) = first_parameter(parameters) {
                crypto::cfb(&material, first, false);
            }
        }
        Ok(())
    }

    fn proof_key(&self) -> Zeroizing<Vec<u8>> {
        let value: &[u8] = if self.proves_value { &self.value } else { &[] };
        Zeroizing::new([self.key.as_slice(), value].concat())
    }

    fn material(&self, newer: &[u8], older: &[u8]) -> Zeroizing<[u8; DIGEST]> {
        let key = Zeroizing::new([self.key.as_slice(), &self.value].concat());
        crypto::kdf_a(&key, "CFB", newer, older)
    }
}

/// The bytes of a sized first parameter, without the size.
fn first_parameter(parameters: &mut [u8]) -> Option<&mut [u8]> {
    let (size, rest) = parameters.split_at_mut_checked(2)?;
    let size = usize::from(u16::from_be_bytes([*size.first()?, *size.get(1)?]));
    rest.get_mut(..size)
}
