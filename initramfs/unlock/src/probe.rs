//! What PID 1 asks about a disk before anybody is asked for a passphrase.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use data_encoding::BASE64;
use meadow_luks::header::{self, Copies};
use meadow_luks::{LuksError, MAPPING};
use meadow_model::preboot::{HostKey, MARK_BYTES, Mark, Preboot, StaticNetwork, VERSION};
use meadow_model::{Fingerprint, record};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::run_files::{Known, RunFiles, store, store_bytes};
use crate::tpm;

/// No host key in Dropbear's form is longer.
const LONGEST_HOST_KEY: usize = 8192;
const AREA_AND_MARK: usize = record::AREA_BYTES + MARK_BYTES;
const INSTALL_AGAIN: &str = "install this node again, which asks before it wipes";

/// The answer, as `meadow_init::state::Probe` reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Answer {
    /// A node's state, which somebody has to open.
    State(State),
    /// None that could be opened.
    None {
        /// Why, with the next step.
        why: String,
    },
}

/// A node's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    /// The node.
    pub node: String,
    /// The cluster's name.
    pub cluster: String,
    /// Who may unlock over SSH.
    pub authorized_keys: Vec<String>,
    /// Fixed addresses; empty: DHCP.
    pub network: Vec<StaticNetwork>,
    /// Whether the node's own host key was put into place.
    pub own_host_key: bool,
    /// `SHA256:…` of the node's own host key.
    pub host_key_fingerprint: String,
    /// What is wrong but keeps nobody from trying, with the next step.
    pub warnings: Vec<String>,
    /// Why no key opens the state any more; `None` where one may.
    pub lost: Option<String>,
    /// The CA of the node's cluster, for whoever is told what this computer was.
    pub ca_fingerprint: Fingerprint,
}

/// An answer, and what of the record is not for PID 1.
#[derive(Debug)]
pub struct Looked {
    /// For PID 1.
    pub answer: Answer,
    /// For who opens the state later.
    pub known: Option<Known>,
    /// The host key in Dropbear's form.
    pub host_key: Option<Zeroizing<Vec<u8>>>,
}

/// Looks at the partitions, keeps what is needed later in memory, and prints the answer.
#[must_use]
pub fn print(preboot: &Path, state: Option<&Path>) -> ExitCode {
    let looked = match read_area(preboot) {
        Ok(area) => answer(&area, preboot, state, &mut tpm::host_key),
        Err(error) => none(format!("the partition {} cannot be read ({error}): check the disk", preboot.display())),
    };
    match finish(looked, &RunFiles::here()).and_then(|json| io::stdout().write_all(&json)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn read_area(preboot: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // It holds the host key.
    let mut area = Zeroizing::new(Vec::with_capacity(AREA_AND_MARK));
    File::open(preboot)?.take(AREA_AND_MARK as u64).read_to_end(&mut area)?;
    Ok(area)
}

/// Puts the files into place; the answer as JSON.
fn finish(looked: Looked, files: &RunFiles) -> io::Result<Vec<u8>> {
    let Looked { mut answer, known, host_key } = looked;
    if let Some(known) = known {
        store(&files.known(), &known)?;
    }
    if let (Some(key), Answer::State(state)) = (host_key, &mut answer) {
        store_bytes(&files.host_key(), &key)?;
        state.own_host_key = true;
    }
    serde_json::to_vec(&answer).map_err(io::Error::other)
}

/// Gives back a host key that a TPM sealed, or says why not.
pub type Unseal<'a> = dyn FnMut(&str) -> Result<Zeroizing<Vec<u8>>, String> + 'a;

/// What follows from the records' bytes and the header on `state`, which is only read. A sealed host key goes to `unseal`.
#[must_use]
pub fn answer(area: &[u8], preboot: &Path, state: Option<&Path>, unseal: &mut Unseal<'_>) -> Looked {
    let place = preboot.display();
    let (area, mark) = area.split_at_checked(record::AREA_BYTES).unwrap_or((area, &[]));
    if let Some(Mark::Resets(_)) = Mark::parse(mark) {
        return none(
            "a factory reset of this disk began and was cut off; nothing is opened any more, and the system that starts now brings it to its end"
                .to_owned(),
        );
    }
    let Some(record) = record::newest(area) else {
        if !area.is_empty() && area.iter().all(|byte| *byte == 0) {
            return none(format!("{place} names no node: this disk is nobody's, or was reset"));
        }
        return none(format!(
            "the record on {place} says nothing whole, so it is unknown whose state this is: {INSTALL_AGAIN}"
        ));
    };
    let version = serde_json::from_slice::<Version>(record.payload).map(|record| record.version);
    let preboot: Preboot = match (version, serde_json::from_slice(record.payload)) {
        (Ok(VERSION), Ok(preboot)) => preboot,
        (Ok(VERSION), Err(error)) => {
            return none(format!("the record on {place} cannot be understood ({error}): {INSTALL_AGAIN}"));
        }
        (Ok(other), _) => {
            return none(format!(
                "the record on {place} is of version {other}, and this initrd knows version {VERSION}: boot the image that wrote it"
            ));
        }
        (Err(_), _) => return none(format!("the record on {place} is none of Meadow's: {INSTALL_AGAIN}")),
    };
    let header = match state {
        Some(state) => look_at_header(header::inspect(state), state, &preboot.luks_uuid),
        None => Header::Lost("the partition meadow-state is gone".to_owned()),
    };
    let (mut warnings, lost) = match header {
        Header::Whole => (Vec::new(), None),
        Header::Suspect(warning) => (vec![warning], None),
        Header::Lost(why) => (Vec::new(), Some(why)),
    };
    let host_key = match host_key(&preboot.host_key, unseal) {
        Ok(key) => Some(key),
        Err(warning) => {
            warnings.push(warning);
            None
        }
    };
    let known = Known {
        device: state.unwrap_or(Path::new("/dev/null")).to_owned(),
        luks_uuid: preboot.luks_uuid.clone(),
        node: preboot.node.clone(),
        cluster: preboot.cluster.clone(),
        pin: false,
    };
    let answer = Answer::State(State {
        node: preboot.node.to_string(),
        cluster: printable(&preboot.cluster),
        own_host_key: false,
        host_key_fingerprint: printable(preboot.host_key.fingerprint()),
        authorized_keys: preboot.authorized_keys,
        network: preboot.network,
        warnings,
        lost,
        ca_fingerprint: preboot.ca_fingerprint,
    });
    Looked { answer, known: Some(known), host_key }
}

/// Only this field of a record counts for its version.
#[derive(serde::Deserialize)]
struct Version {
    version: u32,
}

fn none(why: String) -> Looked {
    Looked { answer: Answer::None { why }, known: None, host_key: None }
}

/// Whoever writes to the disk must not write to the consoles.
fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(128).collect()
}

fn host_key(kept: &HostKey, unseal: &mut Unseal<'_>) -> Result<Zeroizing<Vec<u8>>, String> {
    const NEW_ONE: &str = "SSH shows a new host key in this boot: compare its fingerprint with the console's before you type a passphrase (`meadow unlock NODE --host-key FINGERPRINT` takes it)";
    match kept {
        HostKey::Plain { key, .. } => {
            let key = Zeroizing::new(BASE64.decode(key.expose().trim().as_bytes()).unwrap_or_default());
            let sound = !key.is_empty() && key.len() <= LONGEST_HOST_KEY;
            sound.then_some(key).ok_or_else(|| format!("the host key in the node's record is damaged; {NEW_ONE}"))
        }
        HostKey::Sealed { blob, .. } => {
            unseal(blob).map_err(|why| format!("the TPM does not give the node's host key back: {why}; {NEW_ONE}"))
        }
    }
}

/// What a look at the volume's header says, before anybody types a passphrase in vain.
enum Header {
    /// A key may open it.
    Whole,
    /// A key may open it all the same: what is to be said.
    Suspect(String),
    /// No key opens it: why.
    Lost(String),
}

fn look_at_header(found: Result<Copies, LuksError>, state: &Path, expected: &str) -> Header {
    let copies = match found {
        Ok(copies) => copies,
        // A disk that cannot be read now may be read at the next attempt.
        Err(error) => return Header::Suspect(error.to_string()),
    };
    let device = state.to_owned();
    let restore = "over SSH `restore-header` takes a backup of the header from standard input";
    match (copies.newest(), copies.damaged()) {
        (None, _) if copies.traces => Header::Lost(format!("{}; {restore}", LuksError::HeaderDamaged(device))),
        (None, _) => Header::Lost(format!("{}; {restore}", LuksError::NotLuks(device))),
        (Some(copy), _) if !copy.uuid.eq_ignore_ascii_case(expected) => {
            let (found, expected) = (printable(&copy.uuid), printable(expected));
            Header::Lost(LuksError::AnotherVolume { device, found, expected }.to_string())
        }
        (Some(_), Some(which)) => Header::Suspect(format!(
            "the {which} copy of the LUKS2 header on {} is damaged; the other one is whole and repairs it at the unlocking of {MAPPING}: watch this disk",
            device.display()
        )),
        (Some(_), None) => Header::Whole,
    }
}

#[cfg(test)]
mod tests;
