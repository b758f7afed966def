//! How network cards are set: the files that systemd-networkd reads, and the course of a trial.

mod trial;

use std::collections::{BTreeMap, BTreeSet};

use meadow_model::network::{CardId, CardNetwork};
use meadow_networkd::{Network, Present, back_to_dhcp, unused};

pub use meadow_networkd::PREFIX;
pub use trial::{Kept, NotNow, Stage, Trial};

/// What has to be done to a folder of files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Files to be there, with their text.
    pub write: BTreeMap<String, String>,
    /// Files to go.
    pub remove: BTreeSet<String>,
}

/// All settings after a change: the cards that `wanted` names do that and nothing else.
#[must_use]
pub fn merged(current: &[CardNetwork], wanted: &[CardNetwork]) -> Vec<CardNetwork> {
    let named: BTreeSet<_> = wanted.iter().map(|network| network.card.mac).collect();
    let others = current.iter().filter(|network| !named.contains(&network.card.mac));
    let alone = |network: &&CardNetwork| wanted.iter().filter(|other| other.card.mac == network.card.mac).count() == 1;
    // A card that simply asks DHCP does so without being told.
    let told = wanted.iter().filter(|network| !(network.is_default() && alone(network)));
    others.chain(told).cloned().collect()
}

/// The files for `settings`, where those named `present` are there now.
///
/// A file of ours never goes while its card is there: the image's own file keeps the addresses that a card has, so a card
/// that is back at DHCP is told to drop them. A VLAN that is not wanted any more is set down, since systemd-networkd removes
/// no interface.
#[must_use]
pub fn files(settings: &[CardNetwork], present: &BTreeSet<String>) -> Files {
    let mut cards: BTreeMap<&str, Vec<&CardNetwork>> = BTreeMap::new();
    for network in settings {
        cards.entry(&network.card.name).or_default().push(network);
    }
    let mut files = Files::default();
    for (name, networks) in &cards {
        files.write.extend(card_files(name, networks));
    }
    for file in present.iter().filter(|file| file.starts_with(PREFIX)) {
        if files.write.contains_key(file) {
            continue;
        }
        match file.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(".network")) {
            Some(vlan) if vlan.contains('.') => files.write.insert(file.clone(), unused(vlan)),
            Some(card) => files.write.insert(file.clone(), back_to_dhcp(card)),
            None => {
                files.remove.insert(file.clone());
                None
            }
        };
    }
    files
}

fn card_files(name: &str, networks: &[&CardNetwork]) -> Vec<(String, String)> {
    let Some(CardId { mac, .. }) = networks.first().map(|network| &network.card) else { return Vec::new() };
    let told = |network: &&CardNetwork| {
        let CardNetwork { vlan, address, gateway, dns, .. } = (*network).clone();
        Network { vlan, address, gateway, dns }
    };
    let told: Vec<Network> = networks.iter().map(told).collect();
    meadow_networkd::files(name, &mac.to_string(), &told, Present::Drop)
}
