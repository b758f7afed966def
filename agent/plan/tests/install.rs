//! Install plans: what is refused, what is lost, what consent is given to.

use meadow_model::Name;
use meadow_model::hardware::{Disk, DiskPartition, Hardware};
use meadow_model::install::{InstallMode, InstallPlan};
use meadow_plan::{Refusal, install};
use proptest::prelude::*;

fn node() -> Name {
    Name::new("node-1").unwrap()
}

fn disk(name: &str, serial: &str) -> Disk {
    Disk { name: name.to_owned(), serial: Some(serial.to_owned()), size_bytes: 64 << 30, ..Disk::default() }
}

fn with(disks: Vec<Disk>) -> Hardware {
    Hardware { disks, ..Hardware::default() }
}

fn planned(disk: Disk) -> Result<InstallPlan, Refusal> {
    install::plan(&node(), &with(vec![disk]), "S1", InstallMode::System)
}

#[test]
fn a_blank_disk_is_taken() {
    let plan = planned(disk("sda", "S1")).unwrap();
    assert!(plan.loses.is_empty());
    assert_eq!((plan.serial.as_str(), plan.disk.as_str(), plan.partitions.len()), ("S1", "sda", 6));
    assert!(install::is_sound(&plan));
}

#[test]
fn refusals_say_why_and_what_next() {
    let part = |name: &str| DiskPartition { number: 1, name: Some(name.to_owned()), ..DiskPartition::default() };
    let some = |text: &str| Some(text.to_owned());
    let cases = [
        (Disk { size_bytes: 2 << 30, ..disk("sda", "S1") }, "sda (S1) has 2 GiB, 2.2 GiB are needed; take a larger"),
        (Disk { read_only: true, ..disk("sda", "S1") }, "write-protect switch"),
        (Disk { in_use: vec!["/var".to_owned()], ..disk("sda", "S1") }, "in use (/var); stop what uses it"),
        (Disk { signature: some("in use"), ..disk("sda", "S1") }, "in use (another device)"),
        (Disk { signature: some("unreadable"), ..disk("sda", "S1") }, "check its cable"),
        (Disk { partitions: vec![part("meadow-seed")], ..disk("sdb", "S1") }, "choose the disk that stays"),
        (disk("sda", "S2"), "no disk with the serial number S1; it has S2"),
        (Disk { serial: None, ..disk("sda", "") }, "it has none that tells one"),
    ];
    for (disk, expected) in cases {
        let text = planned(disk).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    }
    let twins = with(vec![disk("sda", "S1"), disk("sdb", "S1"), disk("sdc", "S2")]);
    let refusal = install::plan(&node(), &twins, "S1", InstallMode::System).unwrap_err();
    assert_eq!(
        refusal,
        Refusal::SameSerial { serial: "S1".to_owned(), disks: vec!["sda".to_owned(), "sdb".to_owned()] }
    );
    assert!(install::plan(&node(), &twins, "S2", InstallMode::System).is_ok());
}

#[test]
fn a_serial_of_nothing_names_no_disk() {
    let hardware = with(vec![disk("sda", "")]);
    assert!(matches!(install::plan(&node(), &hardware, "", InstallMode::System), Err(Refusal::NoSuchDisk { .. })));
}

#[test]
fn state_alone_fits_a_smaller_disk() {
    let hardware = with(vec![Disk { size_bytes: 2 << 30, ..disk("mmcblk0", "S1") }]);
    let plan = install::plan(&node(), &hardware, "S1", InstallMode::StateOnly).unwrap();
    assert_eq!(plan.partitions.len(), 2);
}

#[test]
fn the_smallest_blank_disk_is_chosen_and_no_other() {
    let sized = |name: &str, gib: u64| Disk { size_bytes: gib << 30, ..disk(name, name) };
    let used = Disk { signature: Some("ext4".to_owned()), ..sized("sda", 8) };
    let unread = Disk { signature: Some("unknown".to_owned()), ..sized("sdb", 8) };
    let held = Disk { in_use: vec!["/".to_owned()], ..sized("sdc", 8) };
    let nameless = Disk { serial: None, ..sized("sdd", 8) };
    let small = sized("sde", 1);
    let never = vec![used, unread, held, nameless, small];
    let refusal = install::smallest_blank(&node(), &with(never.clone()), InstallMode::System).unwrap_err();
    assert!(refusal.to_string().contains("no blank disk of 2.2 GiB or more"), "{refusal}");
    let mut disks = never;
    disks.extend([sized("sdf", 64), sized("sdg", 16), sized("sdh", 32)]);
    let hardware = with(disks);
    assert_eq!(install::smallest_blank(&node(), &hardware, InstallMode::System).unwrap().name, "sdg");
    let twins = with(vec![sized("sda", 16), sized("sda", 16), sized("sdb", 32)]);
    assert_eq!(install::smallest_blank(&node(), &twins, InstallMode::System).unwrap().name, "sdb");
}

#[test]
fn consent_follows_the_disk_and_not_its_name_or_the_nodes() {
    let plan = |node: &str, disk: Disk| {
        let node = Name::new(node).unwrap();
        install::plan(&node, &with(vec![disk]), "S1", InstallMode::System).unwrap()
    };
    let seen = plan("m-1", disk("sda", "S1"));
    assert!(install::same_consent(&seen, &plan("node-7", disk("sdb", "S1"))));
    let written = Disk { signature: Some("ext4".to_owned()), ..disk("sda", "S1") };
    assert!(!install::same_consent(&seen, &plan("m-1", written)));
    assert!(!install::same_consent(&seen, &plan("m-1", Disk { size_bytes: 63 << 30, ..disk("sda", "S1") })));
}

fn any_plan() -> impl Strategy<Value = InstallPlan> {
    let loses = prop::option::of("[a-z]{1,8}");
    (loses, (2400_u64 << 20)..(1 << 44), any::<bool>()).prop_map(|(signature, size_bytes, state_only)| {
        let mode = if state_only { InstallMode::StateOnly } else { InstallMode::System };
        let signature = signature.filter(|text| text != "unreadable");
        let hardware = with(vec![Disk { size_bytes, signature, ..disk("vda", "S1") }]);
        install::plan(&node(), &hardware, "S1", mode).expect("nothing to refuse")
    })
}

/// Every change of one field.
fn changed(plan: &InstallPlan) -> Vec<InstallPlan> {
    let change = |change: &dyn Fn(&mut InstallPlan)| {
        let mut plan = plan.clone();
        change(&mut plan);
        plan
    };
    let other_mode = match plan.mode {
        InstallMode::System => InstallMode::StateOnly,
        InstallMode::StateOnly => InstallMode::System,
    };
    vec![
        change(&|plan| plan.node = Name::new("node-2").unwrap()),
        change(&|plan| plan.mode = other_mode),
        change(&|plan| plan.disk.push('x')),
        change(&|plan| plan.serial.push('x')),
        change(&|plan| plan.model = Some("other".to_owned())),
        change(&|plan| plan.size_bytes += 1),
        change(&|plan| plan.loses.push(String::new())),
        change(&|plan| plan.partitions[0].number += 1),
        change(&|plan| plan.partitions[0].name.push('x')),
        change(&|plan| plan.partitions[0].type_guid.push('x')),
        change(&|plan| plan.partitions[0].start += 1),
        change(&|plan| plan.partitions[0].size += 1),
        change(&|plan| drop(plan.partitions.pop())),
        change(&|plan| plan.free_bytes += 1),
    ]
}

proptest! {
    #[test]
    fn consent_covers_every_field(plan in any_plan()) {
        prop_assert!(install::is_sound(&plan));
        prop_assert_eq!(plan.hash.len(), 64);
        for other in changed(&plan) {
            prop_assert_ne!(install::hash(&other), plan.hash.clone());
            prop_assert!(!install::is_sound(&other));
        }
        // The hash itself does not count.
        prop_assert_eq!(install::hash(&InstallPlan { hash: "x".to_owned(), ..plan.clone() }), plan.hash);
    }

    #[test]
    fn the_same_disk_gives_the_same_plan(size in (2400_u64 << 20)..(1 << 44)) {
        let one = Disk { size_bytes: size, ..disk("sda", "S1") };
        prop_assert_eq!(planned(one.clone()), planned(one));
    }
}
