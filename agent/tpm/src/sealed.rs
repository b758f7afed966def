//! Sealing and giving back.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::command::{Auth, Code};
use crate::crypto::DIGEST;
use crate::image_key::{ImageKey, Signatures};
use crate::pcr::{self, Value};
use crate::pin::Pin;
use crate::session::{Kind, Secret, Session};
use crate::storage_key::{NULL_ALGORITHM, SHA256, StorageKey};
use crate::transport::Tpm;
use crate::wire::Writer;
use crate::{TpmError, policy, response};

/// `TPM_ALG_KEYEDHASH`: data, not a key.
const KEYED_HASH: u16 = 0x0008;
/// fixedTPM, fixedParent; with `NO_DA` wrong values are not counted.
const ATTRIBUTES: u32 = 0x0000_0012;
const NO_DA: u32 = 0x0000_0400;
/// Bytes that may be sealed: `MAX_SYM_DATA` of every TPM.
pub const LARGEST: usize = 128;
/// Longest field of what lies on a disk.
const LONGEST_FIELD: usize = 2048;

/// What is asked for before the TPM gives something back.
#[derive(Debug)]
pub struct Conditions<'a> {
    /// Whose signature has to be on what the image measured.
    pub image_key: &'a ImageKey,
    /// Values that other registers have to have. [`pcr::CLOSED`] is always among them, with zero.
    pub registers: BTreeMap<u8, Value>,
    /// A PIN.
    pub pin: Option<&'a Pin>,
}

/// What the TPM sealed, as it lies on a disk. Whoever reads it can do nothing with it elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The object's public part, base64.
    public: String,
    /// Its private part, encrypted by the TPM, base64.
    private: String,
    /// Name of the storage key: another TPM has another one, base64.
    storage: String,
    /// The image key in DER, base64.
    image_key: String,
    /// The registers that have to be as they were.
    pub registers: Vec<u8>,
    /// Salt of the PIN; `None` where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pin: Option<String>,
}

impl Sealed {
    /// Whether a PIN is needed.
    #[must_use]
    pub fn needs_pin(&self) -> bool {
        self.pin.is_some()
    }

    /// Whether it depends on Secure Boot being as it was.
    #[must_use]
    pub fn binds_secure_boot(&self) -> bool {
        self.registers.contains(&pcr::SECURE_BOOT)
    }

    /// The key that has to have signed an image.
    ///
    /// # Errors
    /// [`TpmError::Damaged`]
    pub fn image_key(&self) -> Result<ImageKey, TpmError> {
        ImageKey::from_der(&field(&self.image_key, "its image key")?).map_err(|_| TpmError::Damaged("its image key"))
    }
}

impl Tpm {
    /// Seals at most [`LARGEST`] bytes.
    ///
    /// # Errors
    /// [`TpmError`]
    pub fn seal(&mut self, secret: &[u8], conditions: &Conditions<'_>) -> Result<Sealed, TpmError> {
        let storage = StorageKey::load(self)?;
        let mut registers = conditions.registers.clone();
        registers.insert(pcr::CLOSED, [0; DIGEST]);
        let pin = conditions.pin.map(|pin| Pin::new_salt().map(|salt| (pin, salt))).transpose()?;
        let policy = policy::whole(&conditions.image_key.name(), &registers, pin.is_some());

        let mut session = Session::start(self, Kind::Hmac, Secret::In, &storage)?;
        let value = pin.as_ref().map(|(pin, salt)| pin.value(salt)).unwrap_or_default();
        let mut sensitive = Writer::new();
        sensitive.sized(&value).sized(secret);
        let mut public = Writer::new();
        let attributes = if pin.is_some() { ATTRIBUTES } else { ATTRIBUTES | NO_DA };
        public.u16(KEYED_HASH).u16(SHA256).u32(attributes).sized(&policy).u16(NULL_ALGORITHM).u16(0);
        let mut parameters = Writer::new();
        parameters.sized(sensitive.as_slice()).sized(public.as_slice()).u16(0).u32(0);
        let auth = Auth::Session(&mut session, &[&storage.name]);
        let made = self.run(Code::Create, &[storage.handle], auth, &mut parameters);
        self.forget(session.handle);
        self.forget(storage.handle);
        let made = made?;
        let mut reader = made.reader();
        let (private, public) = (reader.sized()?, reader.sized()?);
        Ok(Sealed {
            public: BASE64.encode(public),
            private: BASE64.encode(private),
            storage: BASE64.encode(&storage.name),
            image_key: BASE64.encode(conditions.image_key.der()),
            registers: registers.into_keys().collect(),
            pin: pin.map(|(_, salt)| salt),
        })
    }

    /// Gives back what was sealed, where this start fulfils the conditions.
    ///
    /// # Errors
    /// [`TpmError`]: each says what is not as it has to be.
    pub fn unseal(
        &mut self,
        sealed: &Sealed,
        signatures: &Signatures,
        pin: Option<&Pin>,
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let value = match (&sealed.pin, pin) {
            (Some(_), None) => return Err(TpmError::PinNeeded),
            (Some(salt), Some(pin)) => Some(pin.value(salt)),
            (None, _) => None,
        };
        let storage = StorageKey::load(self)?;
        let given = self.unseal_below(&storage, sealed, signatures, value.as_ref().map(|value| value.as_slice()));
        self.forget(storage.handle);
        given
    }

    fn unseal_below(
        &mut self,
        storage: &StorageKey,
        sealed: &Sealed,
        signatures: &Signatures,
        value: Option<&[u8]>,
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        // Before a session is salted with a key that somebody else may have.
        if field(&sealed.storage, "its storage key")? != storage.name {
            return Err(TpmError::AnotherTpm);
        }
        let (public, private) =
            (field(&sealed.public, "its public part")?, field(&sealed.private, "its private part")?);
        let mut session = Session::start(self, Kind::Policy, Secret::Out, storage)?;
        let given = self.fulfil(&mut session, sealed, signatures, value).and_then(|()| {
            let mut parameters = Writer::new();
            parameters.sized(&private).sized(&public);
            let object = self.run(Code::Load, &[storage.handle], Auth::Empty, &mut parameters)?.handle()?;
            let name = crate::storage_key::name(&public);
            let given = self.run(Code::Unseal, &[object], Auth::Session(&mut session, &[&name]), &mut Writer::new());
            self.forget(object);
            Ok(Zeroizing::new(given?.reader().sized()?.to_vec()))
        });
        self.forget(session.handle);
        given.map_err(|error| self.explain(error, sealed, value.is_some()))
    }

    /// Takes the session through the policy.
    fn fulfil(
        &mut self,
        session: &mut Session,
        sealed: &Sealed,
        signatures: &Signatures,
        value: Option<&[u8]>,
    ) -> Result<(), TpmError> {
        let handle = session.handle;
        self.policy_registers(handle, &[pcr::IMAGE])?;
        let answer = self.run(Code::PolicyGetDigest, &[handle], Auth::None, &mut Writer::new())?;
        let digest = answer.reader().sized()?.try_into().map_err(|_| TpmError::BadAnswer("a policy's length"))?;
        let signature = signatures.over(&digest).ok_or(TpmError::NotSigned)?;
        let key = sealed.image_key()?;
        let ticket = key.approve(self, &digest, signature)?;
        let mut parameters = Writer::new();
        parameters.sized(&digest).u16(0).sized(&key.name()).bytes(&ticket);
        self.run(Code::PolicyAuthorize, &[handle], Auth::None, &mut parameters)?;
        self.policy_registers(handle, &sealed.registers)?;
        if let Some(value) = value {
            self.run(Code::PolicyAuthValue, &[handle], Auth::None, &mut Writer::new())?;
            session.prove(value);
        }
        Ok(())
    }

    /// As they are now; where they are not as they have to be, the whole comes out differently.
    fn policy_registers(&mut self, session: u32, registers: &[u8]) -> Result<(), TpmError> {
        let mut parameters = Writer::new();
        parameters.u16(0).bytes(&pcr::selection(registers.iter().copied()));
        self.run(Code::PolicyPcr, &[session], Auth::None, &mut parameters).map(drop)
    }

    /// Says more than the TPM's number does.
    fn explain(&mut self, error: TpmError, sealed: &Sealed, with_pin: bool) -> TpmError {
        let TpmError::Refused { code, .. } = error else { return error };
        if with_pin && (response::is_wrong_value(code) || response::plain(code) == response::LOCKOUT) {
            return match self.tries() {
                Ok(tries) if tries.left == 0 || code == response::LOCKOUT => {
                    TpmError::Locked { seconds: tries.seconds }
                }
                Ok(tries) => TpmError::WrongPin { left: tries.left, seconds: tries.seconds },
                Err(_) => error,
            };
        }
        if !response::is_policy(code) {
            return error;
        }
        match self.registers(&[pcr::CLOSED]) {
            Ok(values) if values.get(&pcr::CLOSED).is_some_and(|value| *value != [0; DIGEST]) => {
                TpmError::Changed("the initramfs of this start has let go of its secrets already")
            }
            _ if sealed.binds_secure_boot() => TpmError::Changed(
                "Secure Boot is not set as it was when the TPM slot was added, or something else was started before the image \
                 (PCR 7 has another value)",
            ),
            _ => TpmError::Changed("what was sealed is for other conditions than it says"),
        }
    }
}

fn field(text: &str, what: &'static str) -> Result<Vec<u8>, TpmError> {
    if text.len() > LONGEST_FIELD {
        return Err(TpmError::Damaged(what));
    }
    BASE64.decode(text.as_bytes()).map_err(|_| TpmError::Damaged(what))
}
