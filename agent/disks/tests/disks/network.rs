//! Network settings over the helper's lines: tried, confirmed, taken back, and processes that are ended in between.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use meadow_disks::{DiskError, NetworkHost, serve};
use meadow_model::MacAddress;
use meadow_model::install::{BootSlot, DiskReply, DiskRequest, InstallMode, TryNetwork};
use meadow_model::network::{CardId, CardNetwork, KnownNetwork, TRIAL_SECONDS};
use meadow_model::preboot::{Preboot, StaticNetwork};
use meadow_model::record;

use crate::image;
use crate::install::run;
use crate::machine::MadeUp;

/// The memory of a computer: gone with the folder.
pub(crate) struct Folder {
    place: tempfile::TempDir,
    armed: Cell<bool>,
    reloads: Cell<u32>,
    /// What is called from here on never comes back: the process is ended there.
    killed_at: RefCell<Option<&'static str>>,
}

impl Folder {
    pub(crate) fn nowhere() -> Self {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("network")).unwrap();
        Self { place, armed: Cell::default(), reloads: Cell::default(), killed_at: RefCell::default() }
    }

    fn ends_at(&self, call: &'static str) -> Result<(), DiskError> {
        let ended = DiskError::Refused("ended".to_owned());
        if *self.killed_at.borrow() == Some(call) { Err(ended) } else { Ok(()) }
    }

    fn file(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.place.path().join("network").join(name)).ok()
    }
}

impl NetworkHost for Folder {
    fn folder(&self) -> PathBuf {
        self.place.path().join("network")
    }

    fn state(&self) -> PathBuf {
        self.place.path().join("network.json")
    }

    fn lock(&self) -> Result<Box<dyn Any>, DiskError> {
        Ok(Box::new(()))
    }

    fn uptime_ms(&self) -> u64 {
        5000
    }

    fn arm(&self, armed: bool) -> Result<(), DiskError> {
        self.ends_at(if armed { "arm" } else { "disarm" })?;
        self.armed.set(armed);
        Ok(())
    }

    fn reload(&self) -> Result<(), DiskError> {
        self.ends_at("reload")?;
        self.reloads.set(self.reloads.get() + 1);
        Ok(())
    }
}

fn ask(machine: &MadeUp, host: &Folder, request: &DiskRequest, busy: bool) -> Result<KnownNetwork, String> {
    let line = serde_json::to_string(request).unwrap() + "\n";
    let mut output = Vec::new();
    serve(machine, host, &mut line.as_bytes(), &mut output, |_| Ok((!busy).then_some(())));
    match serde_json::from_slice(&output).unwrap() {
        DiskReply::Done { network: Some(network), .. } => Ok(*network),
        DiskReply::Failed { why } => Err(why),
        other => panic!("{other:?}"),
    }
}

fn card() -> CardId {
    CardId { name: "eth0".to_owned(), mac: MacAddress([0x52, 0x54, 0, 0, 0, 1]) }
}

fn fixed(host: u8) -> CardNetwork {
    let gateway = "192.0.2.1".parse().ok();
    CardNetwork { card: card(), vlan: None, address: Some(format!("192.0.2.{host}/24")), gateway, dns: Vec::new() }
}

fn trying(host: u8, start: Vec<StaticNetwork>) -> DiskRequest {
    DiskRequest::TryNetwork(Box::new(TryNetwork { cards: vec![card()], start, networks: vec![fixed(host)] }))
}

fn recorded(disk: &Path, start: u64) -> Vec<StaticNetwork> {
    let mut bytes = vec![0; usize::try_from(start).unwrap() + record::AREA_BYTES];
    File::open(disk).unwrap().read_exact(&mut bytes).unwrap();
    let newest = record::newest(&bytes[usize::try_from(start).unwrap()..]).unwrap();
    serde_json::from_slice::<Preboot>(newest.payload).unwrap().network
}

#[test]
fn what_is_not_confirmed_goes_back_and_what_is_counts_until_the_restart() {
    let (machine, host) = (MadeUp::new(1 << 30), Folder::nowhere());
    let look = |busy| ask(&machine, &host, &DiskRequest::LookAtNetwork, busy).unwrap();
    assert_eq!(look(true), KnownNetwork::default());
    let seed = vec![StaticNetwork { address: "192.0.2.7/24".to_owned(), ..fixed(7).record() }];
    // Also while a disk is written.
    let tried = ask(&machine, &host, &trying(9, seed.clone()), true).unwrap();
    let trial = tried.trial.unwrap();
    assert_eq!((trial.networks, trial.left_s), (vec![fixed(9)], TRIAL_SECONDS));
    assert_eq!((tried.kept, tried.lasts), (Some(seed.clone()), false));
    assert!(host.armed.get() && host.file("05-meadow-eth0.network").unwrap().contains("Address=192.0.2.9/24\n"));
    let second = ask(&machine, &host, &trying(10, Vec::new()), false).unwrap_err();
    assert!(second.contains("tried already"), "{second}");

    let back = ask(&machine, &host, &DiskRequest::NetworkBack, true).unwrap();
    assert_eq!((back.trial, back.kept), (None, Some(seed)));
    assert!(!host.armed.get() && host.file("05-meadow-eth0.network").unwrap().contains("Address=192.0.2.7/24\n"));
    let nothing = ask(&machine, &host, &DiskRequest::ConfirmNetwork, false).unwrap_err();
    assert!(nothing.contains("try them again"), "{nothing}");

    ask(&machine, &host, &trying(9, Vec::new()), false).unwrap();
    let kept = ask(&machine, &host, &DiskRequest::ConfirmNetwork, false).unwrap();
    assert_eq!((kept.trial, kept.kept, kept.lasts), (None, Some(vec![fixed(9).record()]), false));
    // Too late: the timer finds nothing to take back.
    let reloads = host.reloads.get();
    ask(&machine, &host, &DiskRequest::NetworkBack, false).unwrap();
    assert_eq!(host.reloads.get(), reloads);
    assert!(host.file("05-meadow-eth0.network").unwrap().contains("Address=192.0.2.9/24\n"));
}

#[test]
fn a_confirmed_setting_is_in_the_record_of_an_installed_node_and_a_tried_one_never() {
    let machine = MadeUp::new(8 << 30);
    let work = image::work(&machine, InstallMode::System);
    run(&machine, &work).unwrap();
    machine.boots("S1", BootSlot::A);
    let start = work.plan.partitions.iter().find(|part| part.name == "meadow-preboot").unwrap().start;
    let on_disk = || recorded(&machine.disk(), start);
    let before = on_disk();

    let host = Folder::nowhere();
    let tried = ask(&machine, &host, &trying(9, Vec::new()), false).unwrap();
    assert!(tried.lasts && on_disk() == before);
    // A confirmation waits for whoever writes the disk, and is not lost: the timer goes on.
    let busy = ask(&machine, &host, &DiskRequest::ConfirmNetwork, true).unwrap_err();
    assert!(busy.contains("under way") && host.armed.get() && on_disk() == before, "{busy}");

    // The process is ended once the record is written.
    *host.killed_at.borrow_mut() = Some("disarm");
    ask(&machine, &host, &DiskRequest::ConfirmNetwork, false).unwrap_err();
    assert!(host.armed.get());
    *host.killed_at.borrow_mut() = None;
    let after = ask(&machine, &host, &DiskRequest::NetworkBack, false).unwrap();
    assert_eq!((after.trial, on_disk()), (None, vec![fixed(9).record()]));
    assert!(host.file("05-meadow-eth0.network").unwrap().contains("Address=192.0.2.9/24\n"));

    // The next start knows it from the record.
    let next = Folder::nowhere();
    let known = ask(&machine, &next, &DiskRequest::LookAtNetwork, false).unwrap();
    assert_eq!((known.kept, known.lasts), (Some(vec![fixed(9).record()]), true));
}

#[test]
fn a_process_that_is_ended_anywhere_leaves_a_way_back() {
    for call in ["arm", "reload"] {
        let (machine, host) = (MadeUp::new(1 << 30), Folder::nowhere());
        *host.killed_at.borrow_mut() = Some(call);
        ask(&machine, &host, &trying(9, Vec::new()), false).unwrap_err();
        let changed = host.file("05-meadow-eth0.network").is_some();
        assert_eq!((host.armed.get(), changed), (call == "reload", call == "reload"), "{call}");
        *host.killed_at.borrow_mut() = None;
        let back = ask(&machine, &host, &DiskRequest::NetworkBack, false).unwrap();
        assert_eq!(back.trial, None);
        let file = host.file("05-meadow-eth0.network");
        assert!(file.is_none_or(|text| text.contains("DHCP=ipv4\n")), "{call}");
    }
}

#[test]
fn what_is_no_card_is_refused_before_anything_changes() {
    let (machine, host) = (MadeUp::new(1 << 30), Folder::nowhere());
    for name in ["", "../etc/x", "eth0.7", "a-name-that-is-too-long"] {
        let mut odd = fixed(9);
        odd.card.name = name.to_owned();
        let work = TryNetwork { cards: vec![card()], start: Vec::new(), networks: vec![odd] };
        ask(&machine, &host, &DiskRequest::TryNetwork(Box::new(work)), false).unwrap_err();
    }
    assert!(!host.armed.get() && fs::read_dir(host.folder()).unwrap().next().is_none());
}
