//! `meadow node keys backup`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use meadow_client::Client;
use meadow_host::SystemEntropy;
use meadow_host::files;
use meadow_host::wireguard::PrivateKey;
use meadow_model::header_backup::HeaderBackup;
use meadow_model::work::{KeyTask, header_purpose};
use meadow_pki::sealed;

use super::{Context, disks};
use crate::args::KeyChangeArgs;
use crate::exit::{Exit, Failure};
use crate::output::{put, say};
use crate::reference;

pub(super) async fn run(context: &Context, client: &Client, change: &KeyChangeArgs, to: &Path) -> anyhow::Result<()> {
    // Before anything is asked for; whether it is still so when it is written, the system makes sure.
    if to.symlink_metadata().is_ok() {
        return Err(exists(to).into());
    }
    let node = reference::node(client, &change.order.name).await?;
    let name = &node.metadata.name;
    let existing = disks::sealed_to(&node, &disks::opened_by(context, change)?)?;
    let answer = PrivateKey::generate(&SystemEntropy)?;
    let task = KeyTask::BackUpHeader { existing, reply_to: answer.public_key() };
    let operation = client.change_keys(name, &task).await?;
    let Some(ended) = disks::end(client, operation, &change.order.follow).await? else {
        say("Nobody waited for the backup, so nobody will get it: ask for another one.");
        return Ok(());
    };
    let sealed = client.operation_answer(&ended.metadata.name).await?;
    let backup = HeaderBackup::unpack(&sealed::open(answer.expose(), &header_purpose(name), &sealed)?)?;
    save(&backup, to)?;
    say(&format!(
        "The header of {name} as it is now. Who has it and a passphrase of today opens the disk, also after you change keys."
    ));
    put(&format!("{}\n", to.display()))
}

fn save(backup: &HeaderBackup, to: &Path) -> anyhow::Result<()> {
    let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(to).into()),
        opened => opened.map_err(|error| cannot(to, &error))?,
    };
    write(backup, &file).map_err(|error| {
        // Half of a backup is none; what went wrong is worth more than whether this worked.
        let _ = files::remove(to);
        cannot(to, &error)
    })?;
    Ok(())
}

fn write(backup: &HeaderBackup, file: &File) -> io::Result<()> {
    let mut writer = BufWriter::new(file);
    backup.write(&mut writer)?;
    writer.flush()?;
    file.sync_all()
}

fn exists(to: &Path) -> Failure {
    Failure::usage(format!("{} exists, and a backup is never overwritten; name another file", to.display()))
}

fn cannot(to: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("cannot write {}: {error}; nothing is left of it, name another place", to.display()),
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_backup_is_its_owners_and_overwrites_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("header");
        let backup = HeaderBackup::of(&[0, 1, 2]);
        save(&backup, &file).expect("saved");
        assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
        let again = save(&backup, &file).expect_err("it is there").to_string();
        assert!(again.contains("never overwritten"), "{again}");
        assert_eq!(fs::metadata(&file).expect("there").len(), 3);
    }
}
