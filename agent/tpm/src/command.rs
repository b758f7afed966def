//! Commands: framing, and what the TPM answers (TPM 2.0 Library, Part 3).

use zeroize::Zeroizing;

use crate::session::Session;
use crate::transport::Tpm;
use crate::wire::{Reader, Writer};
use crate::{TpmError, response};

/// `TPM_CC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    CreatePrimary = 0x131,
    Create = 0x153,
    Load = 0x157,
    Unseal = 0x15e,
    FlushContext = 0x165,
    LoadExternal = 0x167,
    PolicyAuthorize = 0x16a,
    PolicyAuthValue = 0x16b,
    StartAuthSession = 0x176,
    VerifySignature = 0x177,
    GetCapability = 0x17a,
    PcrRead = 0x17e,
    PolicyPcr = 0x17f,
    PcrExtend = 0x182,
    PolicyGetDigest = 0x189,
}

impl Code {
    pub(crate) fn number(self) -> u32 {
        self as u32
    }

    /// For messages.
    fn action(self) -> &'static str {
        match self {
            Self::CreatePrimary => "make its storage key",
            Self::Create => "seal",
            Self::Load => "load what was sealed",
            Self::Unseal => "give back what was sealed",
            Self::FlushContext => "forget a key",
            Self::LoadExternal => "load the key that signs images",
            Self::PolicyAuthorize | Self::VerifySignature => "accept the image's signature",
            Self::PolicyAuthValue | Self::PolicyPcr | Self::PolicyGetDigest => "check what was started",
            Self::StartAuthSession => "start a session",
            Self::GetCapability => "tell what it is",
            Self::PcrRead => "tell what was measured",
            Self::PcrExtend => "measure",
        }
    }
}

/// The owner's hierarchy, whose storage key is used.
pub(crate) const OWNER: u32 = 0x4000_0001;
/// `TPM_RS_PW`: authorisation by a value that is empty here.
const PASSWORD: u32 = 0x4000_0009;
/// How often a command is sent that the TPM did not begin.
const TURNS: usize = 50;
const NO_SESSIONS: u16 = 0x8001;
const SESSIONS: u16 = 0x8002;

/// How a command is authorised.
pub(crate) enum Auth<'a> {
    /// Needs none.
    None,
    /// By an empty value.
    Empty,
    /// By a session, and the names of all handles.
    Session(&'a mut Session, &'a [&'a [u8]]),
}

/// Handles and parameters of an answer.
pub(crate) struct Answer {
    bytes: Zeroizing<Vec<u8>>,
    handle: Option<u32>,
}

impl Answer {
    pub(crate) fn handle(&self) -> Result<u32, TpmError> {
        self.handle.ok_or(TpmError::BadAnswer("it has no handle"))
    }

    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader::new(&self.bytes)
    }
}

impl Tpm {
    /// Carries out a command.
    pub(crate) fn run(
        &mut self,
        code: Code,
        handles: &[u32],
        mut auth: Auth<'_>,
        parameters: &mut Writer,
    ) -> Result<Answer, TpmError> {
        let mut command = Writer::new();
        let tag = if matches!(auth, Auth::None) { NO_SESSIONS } else { SESSIONS };
        command.u16(tag).u32(0).u32(code.number());
        for handle in handles {
            command.u32(*handle);
        }
        match &mut auth {
            Auth::None => {}
            Auth::Empty => drop(command.u32(9).u32(PASSWORD).u16(0).u8(0).u16(0)),
            Auth::Session(session, names) => {
                let area = session.authorise(code.number(), names, parameters.as_mut_slice())?;
                command.u32(u32::try_from(area.len()).unwrap_or(u32::MAX)).bytes(&area);
            }
        }
        command.bytes(parameters.as_slice());
        let size = u32::try_from(command.as_slice().len()).unwrap_or(u32::MAX);
        if let Some(field) = command.as_mut_slice().get_mut(2..6) {
            field.copy_from_slice(&size.to_be_bytes());
        }
        let mut answer = self.exchange(command.as_slice())?;
        for _ in 0..TURNS {
            let result = Reader::new(answer.get(6..).unwrap_or_default()).u32()?;
            if !response::is_not_begun(result) {
                break;
            }
            answer = self.exchange(command.as_slice())?;
        }
        let mut reader = Reader::new(&answer);
        let (got, _size, result) = (reader.u16()?, reader.u32()?, reader.u32()?);
        if result != 0 {
            return Err(response::refused(code.action(), result));
        }
        if got != tag {
            return Err(TpmError::BadAnswer("it has another form than the question"));
        }
        let gives_handle =
            matches!(code, Code::CreatePrimary | Code::Load | Code::LoadExternal | Code::StartAuthSession);
        let handle = if gives_handle { Some(reader.u32()?) } else { None };
        if tag == NO_SESSIONS {
            return Ok(Answer { bytes: Zeroizing::new(reader.rest().to_vec()), handle });
        }
        let length = usize::try_from(reader.u32()?).map_err(|_| TpmError::BadAnswer("it is too long"))?;
        let mut bytes = Zeroizing::new(reader.take(length)?.to_vec());
        if let Auth::Session(session, _) = auth {
            session.check(code.number(), &mut bytes, reader.rest())?;
        }
        Ok(Answer { bytes, handle })
    }

    /// Makes the TPM forget a key or a session; where it fails the resource manager does so when the connection ends.
    pub(crate) fn forget(&mut self, handle: u32) {
        // The handle is a parameter of this command.
        let _ = self.run(Code::FlushContext, &[], Auth::None, Writer::new().u32(handle));
    }
}
