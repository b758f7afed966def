//! The TPM's part: it is tried before anybody is asked, and lets go of everything when the initramfs ends.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use data_encoding::BASE64;
use meadow_luks::{Key, LuksError, Volume};
use meadow_model::install::KeyKind;
use meadow_tpm::{Pin, Sealed, Signatures, Tpm, TpmError};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::attempt;
use crate::news::opened;
use crate::run_files::{Known, RunFiles, load, store};

/// Where the stub of a unified kernel image leaves the image's signatures; read-only memory of this start.
const SIGNATURES: &str = "/.extra/tpm2-pcr-signature.json";
const LONGEST: u64 = 64 << 10;
/// The field of a key slot's token.
pub const FIELD: &str = "tpm2";
/// Who opened it, for people.
const PLACE: &str = "the TPM";

/// What came of it, as `meadow_init::state` reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tried {
    /// Whether the state is open.
    pub opened: bool,
    /// Why not, with the next step; `None` where the state has no slot for a TPM.
    pub why: Option<String>,
}

/// Why the TPM or the volume did not open.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    /// The TPM.
    #[error(transparent)]
    Tpm(#[from] TpmError),
    /// The volume.
    #[error(transparent)]
    Luks(#[from] LuksError),
}

impl NotOpened {
    /// Whether it was a wrong guess, which is counted.
    #[must_use]
    pub fn is_wrong_key(&self) -> bool {
        match self {
            Self::Tpm(error) => matches!(error, TpmError::WrongPin { .. }),
            Self::Luks(error) => error.is_wrong_key(),
        }
    }
}

/// Tries, keeps in mind whether a PIN is of use, and prints what came of it.
#[must_use]
pub fn print() -> ExitCode {
    let tried = attempt_alone(&RunFiles::here()).unwrap_or_else(|error| Tried {
        opened: false,
        why: Some(format!("the attempt broke off ({error}); type a passphrase")),
    });
    match serde_json::to_vec(&tried).map_err(io::Error::other).and_then(|json| io::stdout().write_all(&json)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Makes the TPM let go of all that it gives to an initramfs, until the next start.
#[must_use]
pub fn close() -> ExitCode {
    match Tpm::open().and_then(|mut tpm| tpm.close()) {
        Ok(()) | Err(TpmError::NoTpm) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn attempt_alone(files: &RunFiles) -> io::Result<Tried> {
    let mut known: Known = load(&files.known()).ok_or(ErrorKind::NotFound)?;
    let _lock = attempt::lock(files, &mut |_| {})?;
    if opened(files).is_some() {
        return Ok(Tried { opened: true, why: None });
    }
    let slots = match slots(&known) {
        Ok(slots) if slots.is_empty() => return Ok(Tried { opened: false, why: None }),
        Ok(slots) => slots,
        Err(error @ LuksError::BadToken { .. }) => {
            return Ok(Tried { opened: false, why: Some(error.to_string()) });
        }
        // Whoever is asked is told the same then; a TPM would change nothing.
        Err(_) => return Ok(Tried { opened: false, why: None }),
    };
    if slots.iter().any(Sealed::needs_pin) {
        known.pin = true;
        store(&files.known(), &known)?;
    }
    match open(&known, None, &mut |_| {}) {
        Ok(news) => {
            store(&files.opened(), &news)?;
            Ok(Tried { opened: true, why: None })
        }
        Err(error) => Ok(Tried { opened: false, why: Some(error.to_string()) }),
    }
}

/// What the TPM sealed for this volume; one that cannot be understood does not count beside another one that can.
fn slots(known: &Known) -> Result<Vec<Sealed>, LuksError> {
    let mut volume = Volume::open(&known.device)?;
    volume.expect_uuid(&known.luks_uuid)?;
    let (mut slots, mut odd) = (Vec::new(), None);
    for (number, mut token) in volume.tokens()? {
        if token.kind != KeyKind::Tpm2 || token.slot().is_none() {
            continue;
        }
        match serde_json::from_value(token.extra.remove(FIELD).unwrap_or_default()) {
            Ok(sealed) => slots.push(sealed),
            Err(error) => odd = Some(LuksError::BadToken { number, why: error.to_string() }),
        }
    }
    match odd {
        Some(error) if slots.is_empty() => Err(error),
        _ => Ok(slots),
    }
}

/// Opens the volume with what the TPM gives back: for this PIN, or where none is needed.
///
/// # Errors
/// [`NotOpened`], of the slot that was tried last.
pub fn open(
    known: &Known,
    pin: Option<&Pin>,
    tell: &mut dyn FnMut(&str),
) -> Result<crate::run_files::Opened, NotOpened> {
    let slots = slots(known)?;
    let mut tpm = Tpm::open()?;
    let signatures = signatures()?;
    let mut last = NotOpened::Luks(LuksError::NoSlotOfKind("tpm2"));
    for sealed in slots {
        if sealed.needs_pin() && pin.is_none() {
            last = TpmError::PinNeeded.into();
            continue;
        }
        match tpm.unseal(&sealed, &signatures, pin) {
            Ok(secret) => {
                let key = Key::of_machine(KeyKind::Tpm2, secret);
                return Ok(attempt::open_volume(known, &key, PLACE, tell)?);
            }
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// Gives back the node's host key.
///
/// # Errors
/// Why not.
pub fn host_key(blob: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let sealed: Option<Sealed> =
        BASE64.decode(blob.as_bytes()).ok().and_then(|json| serde_json::from_slice(&json).ok());
    let sealed = sealed.ok_or("what it sealed is damaged in the node's record")?;
    let given = signatures().and_then(|signatures| Tpm::open()?.unseal(&sealed, &signatures, None));
    given.map_err(|error| error.to_string())
}

fn signatures() -> Result<Signatures, TpmError> {
    let mut json = Vec::new();
    match File::open(Path::new(SIGNATURES)) {
        Ok(file) => file.take(LONGEST).read_to_end(&mut json)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(TpmError::NotMeasured(
                "this machine was started by a BIOS or over the network, and nothing there measures what is started; type a \
                 passphrase, or start it by UEFI from its disk",
            ));
        }
        Err(error) => return Err(error.into()),
    };
    Signatures::parse(&json)
}
