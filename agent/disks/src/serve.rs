//! One request, answered line by line.

use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

use meadow_model::Secret;
use meadow_model::install::{DiskReply, DiskRequest, InstalledDisk};
use meadow_model::network::KnownNetwork;
use meadow_model::reset::ErasedDisk;
use zeroize::Zeroizing;

use crate::machine::Machine;
use crate::network::{self, NetworkHost};
use crate::progress::Progress;
use crate::{DiskError, install, keys, left_mark, own_disk, reinstall, reset, save, ssh_keys, stick, tpm_slot, update};

/// Longest request: a plan, public keys (128 KiB, twice that with escapes), two passphrases.
const LONGEST: usize = 512 << 10;
/// Longest reply.
const REPLY: usize = 16 << 10;
/// How long a change waits for another one. An agent that has just started looks whether a reset was cut off, which takes a
/// slow machine some seconds, while the first work comes; what takes longer than this is for a person to wait for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads one request and carries it out; `lock` is taken for all that writes, and gives `None` where another request is
/// still being carried out after the time that it is given.
///
/// Whoever asked may go away meanwhile: what was begun is brought to its end. Gives whether it succeeded.
pub fn serve<L>(
    machine: &dyn Machine,
    cards: &dyn NetworkHost,
    input: &mut dyn Read,
    output: &mut dyn Write,
    lock: impl FnOnce(Duration) -> io::Result<Option<L>>,
) -> bool {
    let result = read_request(input).and_then(|request| {
        let held = hold(machine, cards, &request, lock)?;
        let result = match network::carry_out(machine, cards, &request) {
            Some(known) => known.map(|known| Done { network: Some(known), ..Done::default() }),
            None => carry_out(machine, &request, &mut |step, percent| {
                send(output, &DiskReply::Progress { step: step.to_owned(), percent });
            }),
        };
        drop(held);
        result
    });
    match result {
        Ok(Done { disk, recovery_key, network, header, erased }) => {
            send(output, &DiskReply::Done { disk, recovery_key, network: network.map(Box::new), header, erased });
            true
        }
        Err(error) => {
            tracing::warn!(%error, "the request failed");
            send(output, &DiskReply::Failed { why: error.to_string() });
            false
        }
    }
}

/// Takes the lock, where the request needs it.
fn hold<L>(
    machine: &dyn Machine,
    cards: &dyn NetworkHost,
    request: &DiskRequest,
    lock: impl FnOnce(Duration) -> io::Result<Option<L>>,
) -> Result<Option<L>, DiskError> {
    if matches!(request, DiskRequest::Look) {
        if left_mark::is_there(machine)? {
            remove_left_mark(machine, lock);
        }
        return Ok(None);
    }
    if writes_no_disk(request, cards)? { Ok(None) } else { take(lock, PATIENCE).map(Some) }
}

/// A look tells what it sees in any case: beside another change, or where that fails, the mark stays for the next one.
fn remove_left_mark<L>(machine: &dyn Machine, lock: impl FnOnce(Duration) -> io::Result<Option<L>>) {
    let removed = take(lock, Duration::ZERO).and_then(|_held| left_mark::remove(machine));
    if let Err(error) = removed {
        tracing::warn!(%error, "the mark of an installation stays");
    }
}

/// Whether it may be done beside a change of the disks: above all, the way back of a trial waits for nothing.
fn writes_no_disk(request: &DiskRequest, cards: &dyn NetworkHost) -> Result<bool, DiskError> {
    Ok(match request {
        DiskRequest::LookAtNetwork | DiskRequest::TryNetwork(_) => true,
        DiskRequest::NetworkBack => !network::is_keeping(cards)?,
        _ => false,
    })
}

fn take<L>(lock: impl FnOnce(Duration) -> io::Result<Option<L>>, patience: Duration) -> Result<L, DiskError> {
    lock(patience).map_err(DiskError::io("lock", Path::new("/run/meadow-disks")))?.ok_or_else(|| {
        DiskError::refused("another change of this node's disks is under way; wait for it and ask again")
    })
}

fn read_request(input: &mut dyn Read) -> Result<DiskRequest, DiskError> {
    // Of fixed size: a growing buffer would leave parts of a passphrase behind where it lay before.
    let mut line = Zeroizing::new(vec![0; LONGEST]);
    let mut length = 0;
    while !line[..length].contains(&b'\n') {
        match input.read(&mut line[length..]) {
            Ok(0) => break,
            Ok(got) => length += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(DiskError::io("read the request from", Path::new("the connection"))(error)),
        }
    }
    serde_json::from_slice(&line[..length]).map_err(|error| {
        // The error's own text could repeat a part of a secret.
        let place = (error.line(), error.column());
        DiskError::refused(format!("the request is not understood (at {place:?}); do the versions fit together?"))
    })
}

/// What there is to tell.
#[derive(Default)]
struct Done {
    disk: Option<InstalledDisk>,
    recovery_key: Option<Secret<String>>,
    network: Option<KnownNetwork>,
    header: Option<Secret<String>>,
    erased: Vec<ErasedDisk>,
}

fn carry_out(machine: &dyn Machine, request: &DiskRequest, progress: &mut Progress<'_>) -> Result<Done, DiskError> {
    let (mut recovery_key, mut header, mut erased) = (None, None, Vec::new());
    match request {
        DiskRequest::Install(work) => {
            let installed = install::install(machine, work, progress);
            stick::forget(machine)?;
            let installed = installed?;
            return Ok(Done { disk: Some(installed.disk), recovery_key: installed.recovery_key, ..Done::default() });
        }
        DiskRequest::Look => {}
        DiskRequest::AddPassphrase { existing, new, label } => keys::add_passphrase(machine, existing, new, label)?,
        DiskRequest::AddTpm { existing, pin, label } => tpm_slot::add(machine, existing, pin.as_ref(), label)?,
        DiskRequest::NewRecoveryKey { existing } => recovery_key = Some(keys::add_recovery(machine, existing)?),
        DiskRequest::EndOlderRecoveryKeys { kept } => keys::end_older_recovery(machine, kept)?,
        DiskRequest::BackUpHeader { existing } => header = Some(keys::back_up_header(machine, existing)?),
        DiskRequest::RemoveKey { slot } => keys::remove(machine, *slot)?,
        DiskRequest::WriteImage { folder, only_newer } => {
            let written = update::write_image(machine, Path::new(folder), *only_newer, progress);
            stick::forget(machine)?;
            written?;
        }
        DiskRequest::TryOnce { slot, only_newer } => update::try_once(machine, *slot, *only_newer, progress)?,
        DiskRequest::Bless => update::bless(machine)?,
        DiskRequest::GiveUpTrial => {
            if update::is_trial(machine)? {
                machine.restart()?;
            }
            return Ok(Done::default());
        }
        DiskRequest::StickImage { serial } => stick::gather(machine, serial.as_deref(), progress)?,
        DiskRequest::SaveToStick { serial, from, name } => {
            save::run(machine, serial, Path::new(from), name, progress)?;
        }
        DiskRequest::Reinstall { folder, only_newer } => {
            reinstall::run(machine, Path::new(folder), *only_newer, progress)?;
        }
        DiskRequest::SetSshKeys { keys, ca_fingerprint } => ssh_keys::set(machine, keys, *ca_fingerprint)?,
        DiskRequest::Reset(plan) => erased = reset::run(machine, plan, progress)?,
        DiskRequest::FinishReset => _ = reset::finish(machine, progress)?,
        DiskRequest::Reboot => {
            machine.restart()?;
            return Ok(Done::default());
        }
        // Carried out elsewhere.
        DiskRequest::LookAtNetwork
        | DiskRequest::TryNetwork(_)
        | DiskRequest::ConfirmNetwork
        | DiskRequest::NetworkBack => {}
    }
    let disk = match own_disk::find(machine)? {
        Some(own) => Some(own.describe(machine)?),
        None => None,
    };
    Ok(Done { disk, recovery_key, header, erased, network: None })
}

/// Sends a line; an asker that is gone misses it.
fn send(output: &mut dyn Write, reply: &DiskReply) {
    let mut line = Zeroizing::new(Vec::with_capacity(REPLY));
    if serde_json::to_writer(&mut *line, reply).is_ok() {
        line.push(b'\n');
        if let Err(error) = output.write_all(&line).and_then(|()| output.flush()) {
            tracing::debug!(%error, "nobody listens any more");
        }
    }
}
