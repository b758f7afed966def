//! Network cards of a node.

use meadow_model::network::{CardView, NetworkView};

use crate::output::{Column, View};

impl View for NetworkView {
    fn reference(&self) -> String {
        "network".to_owned()
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "CARDS", wide: false, cell: |n| cards(n).into() },
            Column { title: "TRIES", wide: false, cell: |n| trial(n).unwrap_or_default().into() },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let mut lines: Vec<(&'static str, String)> = self.cards.iter().map(|card| ("Card", describe(card))).collect();
        lines.push(("Tries", trial(self).unwrap_or_default()));
        lines.push(("Lasts", if self.lasts { "also after a restart" } else { "until it restarts" }.to_owned()));
        lines.push(("Locked", self.locked.clone().unwrap_or_default()));
        lines
    }
}

fn cards(network: &NetworkView) -> String {
    network.cards.iter().map(describe).collect::<Vec<_>>().join("; ")
}

fn trial(network: &NetworkView) -> Option<String> {
    let trial = network.trial.as_ref()?;
    let told = trial.networks.iter().map(|network| format!("{} {network}", network.card.name));
    Some(format!("{} for {} s more", told.collect::<Vec<_>>().join("; "), trial.left_s))
}

fn describe(card: &CardView) -> String {
    let told = card.networks.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let told = if told.is_empty() { "DHCP".to_owned() } else { told };
    let has = match (card.carrier, card.addresses.as_slice()) {
        (false, _) => "no link".to_owned(),
        (true, []) => "no address".to_owned(),
        (true, addresses) => addresses.join(" "),
    };
    format!("{} {}: {told}; has {has}", card.card.name, card.card.mac)
}
