//! Keys over the helper's lines.

use std::fs::File;

use meadow_disks::serve;
use meadow_luks::{Key, Volume};
use meadow_model::Secret;
use meadow_model::header_backup::HeaderBackup;
use meadow_model::install::{DiskReply, DiskRequest, InstallMode, InstalledDisk, KeyKind};

use crate::image::{self, PASSPHRASE};
use crate::machine::MadeUp;
use crate::network::Folder;

/// Sends a request as a line, gives the last line of the answer.
pub(crate) fn ask(machine: &MadeUp, request: &DiskRequest) -> DiskReply {
    let line = serde_json::to_string(request).unwrap() + "\n";
    let mut output = Vec::new();
    serve(machine, &Folder::nowhere(), &mut line.as_bytes(), &mut output, |_| Ok(Some(())));
    let text = String::from_utf8(output).unwrap();
    let replies: Vec<DiskReply> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, before) = replies.split_last().unwrap();
    assert!(before.iter().all(|reply| matches!(reply, DiskReply::Progress { .. })));
    last.clone()
}

pub(crate) fn why(reply: DiskReply) -> String {
    match reply {
        DiskReply::Failed { why } => why,
        other => panic!("{other:?}"),
    }
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

#[test]
fn keys_are_added_renewed_and_removed() {
    let machine = MadeUp::new(2 << 30);
    assert!(matches!(ask(&machine, &DiskRequest::Look), DiskReply::Done { disk: None, .. }));
    let refused = why(ask(&machine, &DiskRequest::RemoveKey { slot: 0 }));
    assert!(refused.contains("install it with"), "{refused}");
    let work = Box::new(image::work(&machine, InstallMode::StateOnly));
    let DiskReply::Done { recovery_key: Some(first), .. } = ask(&machine, &DiskRequest::Install(work)) else {
        panic!("not installed")
    };

    let add = |existing: &str| DiskRequest::AddPassphrase {
        existing: secret(existing),
        new: secret("another passphrase"),
        label: "second".to_owned(),
    };
    assert!(why(ask(&machine, &add("wrong passphrase"))).contains("opens no slot"));
    let DiskReply::Done { disk: Some(disk), .. } = ask(&machine, &add(first.expose())) else { panic!("not added") };
    let labels: Vec<&str> = disk.keys.iter().map(|key| key.label.as_str()).collect();
    assert_eq!(labels, ["passphrase", "recovery key", "second"]);

    let renew = DiskRequest::NewRecoveryKey { existing: secret(PASSPHRASE) };
    // The answer of the first one is lost; asked again, both and the old one open.
    assert!(matches!(ask(&machine, &renew), DiskReply::Done { recovery_key: Some(_), .. }));
    let DiskReply::Done { recovery_key: Some(second), disk: Some(disk), .. } = ask(&machine, &renew) else {
        panic!("not renewed")
    };
    let recovery = |disk: &InstalledDisk| disk.keys.iter().filter(|key| key.kind == KeyKind::Recovery).count();
    assert_eq!(recovery(&disk), 3);
    let end = |kept: &str| DiskRequest::EndOlderRecoveryKeys { kept: secret(kept) };
    assert!(why(ask(&machine, &end(PASSPHRASE))).contains("no key slot is of the kind recovery"));
    assert!(why(ask(&machine, &end("wrong passphrase"))).contains("opens no slot"));
    for _ in 0..2 {
        let DiskReply::Done { disk: Some(disk), .. } = ask(&machine, &end(second.expose())) else {
            panic!("not ended")
        };
        assert_eq!(recovery(&disk), 1);
    }
    assert!(why(ask(&machine, &add(first.expose()))).contains("opens no slot"));
    let typo =
        second.expose().replacen(&second.expose()[..1], if second.expose().starts_with('c') { "b" } else { "c" }, 1);
    assert!(why(ask(&machine, &add(&typo))).contains("group 1 of the recovery key"));

    a_backup_opens_with_the_keys_of_its_time(&machine, second.expose());
    for key in disk.keys.iter().filter(|key| key.kind == KeyKind::Passphrase) {
        assert!(matches!(ask(&machine, &DiskRequest::RemoveKey { slot: key.slot }), DiskReply::Done { .. }));
    }
    let DiskReply::Done { disk: Some(disk), .. } = ask(&machine, &DiskRequest::Look) else { panic!("gone") };
    let [last] = disk.keys.as_slice() else { panic!("{:?}", disk.keys) };
    assert!(why(ask(&machine, &DiskRequest::RemoveKey { slot: last.slot })).contains("the last one"));
}

fn a_backup_opens_with_the_keys_of_its_time(machine: &MadeUp, recovery: &str) {
    let back_up = |existing: &str| DiskRequest::BackUpHeader { existing: secret(existing) };
    assert!(why(ask(machine, &back_up("wrong passphrase"))).contains("opens no slot"));
    let DiskReply::Done { header: Some(header), disk: Some(disk), .. } = ask(machine, &back_up(recovery)) else {
        panic!("no backup")
    };
    assert!(header.expose().len() < 2 << 20, "{} bytes", header.expose().len());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("header");
    HeaderBackup::unpack(&header).unwrap().write(File::create(&file).unwrap()).unwrap();
    let mut backup = Volume::open(&file).unwrap();
    assert_eq!(backup.keys().unwrap(), disk.keys);
    assert_eq!(backup.uuid(), disk.luks_uuid);
    for key in [PASSPHRASE, "another passphrase", recovery] {
        backup.test(&Key::typed(key).unwrap()).unwrap();
    }
}

#[test]
fn requests_that_nobody_understands_repeat_no_secret() {
    let machine = MadeUp::new(2 << 30);
    let long = "x".repeat(300 << 10);
    for line in ["", "\n", "{\"do\":\"hunter22\"}\n", "{\"do\":\"look\", \"hunter22", &long] {
        let mut output = Vec::new();
        serve(&machine, &Folder::nowhere(), &mut line.as_bytes(), &mut output, |_| Ok(Some(())));
        let text = String::from_utf8(output).unwrap();
        assert!(text.contains("\"is\":\"failed\"") && !text.contains("hunter"), "{text}");
    }
}

#[test]
fn one_change_at_a_time() {
    let machine = MadeUp::new(2 << 30);
    let mut output = Vec::new();
    let busy = |patience: std::time::Duration| {
        assert!(!patience.is_zero(), "a start's own look for a reset that was cut off is waited for");
        Ok(None::<()>)
    };
    serve(&machine, &Folder::nowhere(), &mut b"{\"do\":\"bless\"}\n".as_slice(), &mut output, busy);
    assert!(String::from_utf8(output).unwrap().contains("another change of this node's disks is under way"));
}
