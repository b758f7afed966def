//! Network settings: files, trials, and crashes at every point of a trial.

use std::collections::{BTreeMap, BTreeSet};

use meadow_model::MacAddress;
use meadow_model::network::{CardId, CardNetwork};
use meadow_plan::network::{Kept, NotNow, files, merged};
use proptest::prelude::*;

fn network(card: u8, vlan: Option<u16>, address: Option<&str>) -> CardNetwork {
    CardNetwork {
        card: CardId { name: format!("eth{card}"), mac: MacAddress([0x52, 0x54, 0, 0, 0, card]) },
        vlan,
        address: address.map(str::to_owned),
        gateway: address.and_then(|_| "192.0.2.1".parse().ok()),
        dns: Vec::new(),
    }
}

#[test]
fn a_card_and_its_vlan_are_set_and_given_back() {
    let mut fixed = network(0, None, Some("192.0.2.7/24"));
    fixed.dns = vec!["192.0.2.53".parse().unwrap()];
    let set = files(&[fixed, network(0, Some(7), None)], &BTreeSet::new());
    assert!(set.remove.is_empty());
    let card = &set.write["05-meadow-eth0.network"];
    assert!(card.starts_with("[Match]\nMACAddress=52:54:00:00:00:00\nType=ether\nKind=!*\n"), "{card}");
    assert!(
        card.contains("DHCP=no\n")
            && card.contains("KeepConfiguration=no\nAddress=192.0.2.7/24\nDNS=192.0.2.53\nVLAN=eth0.7\n"),
        "{card}"
    );
    assert!(card.contains("\n[Route]\nGateway=192.0.2.1\nGatewayOnLink=yes\n"), "{card}");
    assert!(set.write["05-meadow-eth0.7.netdev"].contains("Kind=vlan\n\n[VLAN]\nId=7\n"));
    let vlan = &set.write["05-meadow-eth0.7.network"];
    assert!(
        vlan.contains("Name=eth0.7\n") && vlan.contains("DHCP=ipv4\n") && vlan.contains("ClientIdentifier=mac"),
        "{vlan}"
    );

    let present: BTreeSet<String> = set.write.keys().cloned().collect();
    let back = files(&[], &present);
    let card = &back.write["05-meadow-eth0.network"];
    assert!(card.contains("Name=eth0\n") && card.contains("DHCP=ipv4\n") && !card.contains("\nAddress="), "{card}");
    assert!(back.write["05-meadow-eth0.7.network"].contains("ActivationPolicy=down\n"));
    assert_eq!(back.remove, BTreeSet::from(["05-meadow-eth0.7.netdev".to_owned()]));
}

#[test]
fn a_card_that_only_carries_vlans_has_no_address() {
    let set = files(&[network(0, Some(7), Some("192.0.2.7/24"))], &BTreeSet::new());
    let card = &set.write["05-meadow-eth0.network"];
    assert!(card.contains("DHCP=no\n") && card.contains("VLAN=eth0.7\n") && !card.contains("\nAddress="), "{card}");
}

#[test]
fn a_change_is_for_the_cards_that_it_names() {
    let current = [network(0, None, Some("192.0.2.7/24")), network(0, Some(7), None), network(1, Some(9), None)];
    let wanted = [network(0, None, Some("192.0.2.8/24"))];
    assert_eq!(merged(&current, &wanted), [current[2].clone(), wanted[0].clone()]);
    assert_eq!(merged(&current, &[network(0, None, None)]), [current[2].clone()], "plain DHCP needs no words");
    let both = [network(0, None, None), network(0, Some(7), None)];
    assert_eq!(merged(&[], &both), both, "beside a VLAN it does");
}

/// What a computer has: the record on its disk, the state and the files in memory, and the timer.
#[derive(Clone, Debug, Default)]
struct Computer {
    record: Vec<CardNetwork>,
    kept: Kept,
    folder: BTreeMap<String, String>,
    timer: bool,
}

/// What one write or call does.
type Step = Box<dyn Fn(&mut Computer)>;

impl Computer {
    fn bring(&mut self) {
        let set = files(self.kept.in_force(), &self.folder.keys().cloned().collect());
        self.folder.extend(set.write);
        self.folder.retain(|name, _| !set.remove.contains(name));
    }

    /// Each step is what one write or call does; a crash comes between two of them.
    fn try_steps(wanted: Vec<CardNetwork>) -> Vec<Step> {
        vec![
            Box::new(|computer| computer.timer = true),
            Box::new(move |computer| {
                if let Ok(kept) = computer.kept.trying(&wanted, 60_000) {
                    computer.kept = kept;
                }
            }),
            Box::new(Self::bring),
        ]
    }

    fn confirm_steps() -> Vec<Step> {
        vec![
            Box::new(|computer| {
                if let Ok(kept) = computer.kept.keeping() {
                    computer.kept = kept;
                }
            }),
            Box::new(|computer| {
                if computer.kept.is_keeping() {
                    computer.record = computer.kept.in_force().to_vec();
                }
            }),
            Box::new(|computer| {
                if computer.kept.is_keeping() {
                    computer.kept = computer.kept.ended();
                }
            }),
        ]
    }

    /// What the timer's service does.
    fn timer_fires(&mut self) {
        if self.kept.is_keeping() {
            self.record = self.kept.in_force().to_vec();
        }
        self.kept = self.kept.ended();
        self.bring();
        self.timer = false;
    }

    fn restart(&mut self) {
        let record = self.record.clone();
        *self = Self { record: record.clone(), kept: Kept { networks: record, trial: None }, ..Self::default() };
        self.bring();
    }

    /// Whether the cards do what these settings say: what they would have to be told is what they are told.
    fn does(&self, settings: &[CardNetwork]) -> bool {
        let set = files(settings, &self.folder.keys().cloned().collect());
        set.remove.is_empty() && set.write == self.folder
    }
}

fn settings() -> impl Strategy<Value = Vec<CardNetwork>> {
    let one = (0_u8..2, proptest::option::of(1_u16..4), proptest::option::of(2_u8..250))
        .prop_map(|(card, vlan, host)| network(card, vlan, host.map(|host| format!("192.0.2.{host}/24")).as_deref()));
    proptest::collection::vec(one, 1..3)
}

proptest! {
    #[test]
    fn a_trial_never_outlives_its_timer_or_a_restart_unless_confirmed(
        before in settings(), wanted in settings(), crash in 0_usize..4, confirm in proptest::option::of(0_usize..4), power: bool,
    ) {
        let mut computer = Computer { record: merged(&[], &before), ..Computer::default() };
        computer.restart();
        let old = computer.record.clone();
        let tried = Computer::try_steps(wanted.clone());
        tried.iter().take(crash).for_each(|step| step(&mut computer));
        if crash > 0 {
            prop_assert!(computer.timer, "the timer comes first");
        }
        prop_assert_eq!(&computer.record, &old, "what is tried is nowhere but in memory");
        // Whoever confirms may be killed too.
        let confirmed = confirm.filter(|_| crash == tried.len());
        if let Some(steps) = confirmed {
            Computer::confirm_steps().iter().take(steps).for_each(|step| step(&mut computer));
        }
        let new = merged(&old, &wanted);
        if power {
            computer.restart();
            // The record's write is where it is decided.
            let expected = if confirmed.is_some_and(|steps| steps >= 2) { &new } else { &old };
            prop_assert!(computer.does(expected), "{computer:?}");
        } else {
            computer.timer_fires();
            let expected = if confirmed.is_some_and(|steps| steps >= 1) { &new } else { &old };
            prop_assert!(computer.does(expected), "{computer:?}");
            prop_assert_eq!(&computer.record, expected);
        }
        prop_assert_eq!(computer.kept.trial, None);
    }

    #[test]
    fn only_one_trial_at_a_time(wanted in settings(), other in settings()) {
        let kept = Kept::default().trying(&wanted, 1).unwrap();
        prop_assert_eq!(kept.trying(&other, 2), Err(NotNow::Trying));
        prop_assert_eq!(kept.ended(), Kept::default());
        prop_assert_eq!(Kept::default().keeping(), Err(NotNow::Nothing));
    }
}
