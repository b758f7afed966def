//! The page of setup and repair: what this machine is, what it has, and what to do about it.

use meadow_model::console::{SelfState, SelfView};
use meadow_model::install::{InstallMode, InstalledDisk, KeyKind};
use meadow_model::network::{CardView, NetworkView};
use ratatui::style::{Color, Modifier, Style};

use crate::page::Page;
use crate::rows::Rows;

/// Lines of one fact at most; together they fit 80×24.
const LINES: usize = 2;
/// Cards that are shown.
const CARDS: usize = 4;

pub(crate) fn render(page: &Page, network: Option<&NetworkView>, rows: &mut Rows<'_>) {
    let Some(view) = &page.view else {
        return rows.line(" Waiting for the agent.", Style::new());
    };
    power_off(page, view, rows);
    let enrolled = view.name.as_ref().map_or_else(|| "no name yet".to_owned(), ToString::to_string);
    let cluster = view.cluster.as_deref().unwrap_or("none");
    rows.fact("Machine", &format!("{enrolled}, cluster {cluster}"));
    if let Some(code) = &view.code {
        rows.fact("Code", &format!("{code}  (compare, then: meadow machine approve {enrolled})"));
    }
    if let Some(fingerprint) = view.fingerprint {
        rows.fact("Fingerprint", &fingerprint.to_string());
    }
    disk(view, rows);
    cards(network, rows);
    for work in &view.work {
        let percent = work.percent.map(|percent| format!(", {percent} %")).unwrap_or_default();
        rows.fact("Works on", &format!("{}: {}{percent}", work.operation, work.step));
    }
    for node in view.waits_for_unlock.iter().take(CARDS) {
        let text = format!("{node} waits for its passphrase: meadow unlock {node}");
        rows.styled_fact("Unlock", &text, Style::new().fg(Color::Yellow));
    }
    if !matches!(view.state, SelfState::Ready) {
        rows.long_fact("Problem", &view.detail, LINES, Style::new().fg(Color::Yellow));
    }
}

fn power_off(page: &Page, view: &SelfView, rows: &mut Rows<'_>) {
    let bold = |colour| Style::new().fg(colour).add_modifier(Modifier::BOLD);
    if page.silence.is_some() {
        let text = "UNKNOWN: the agent does not answer; wait until it does, or expect to repeat what it was at";
        return rows.long_fact("Power off?", text, LINES, bold(Color::Yellow));
    }
    if view.power_off.safe {
        rows.styled_fact("Power off?", "YES, it is safe now", bold(Color::Green));
    } else {
        for why in &view.power_off.because {
            rows.long_fact("Power off?", &format!("NO: {why}"), LINES, bold(Color::Red));
        }
    }
    for then in &view.power_off.then {
        rows.long_fact("At its start", then, LINES, Style::new());
    }
}

fn disk(view: &SelfView, rows: &mut Rows<'_>) {
    let Some(known) = &view.disks else {
        return rows.fact("Own disk", "not known: it is no node yet, or has not looked");
    };
    let Some(own) = &known.installed else {
        let text = if known.durable {
            "none of Meadow's; its system keeps its state"
        } else {
            "none: all runs in memory (i installs)"
        };
        return rows.fact("Own disk", text);
    };
    rows.fact("Own disk", &disk_text(own));
    let keys = own.keys.iter().map(|key| format!("{} {}", key.slot, kind(key.kind)));
    rows.fact("Opened by", &keys.collect::<Vec<_>>().join(", "));
    rows.fact("Unlock key", &own.host_key);
    let kept = if own.host_key_sealed {
        "kept by its TPM; `meadow unlock` trusts only it"
    } else {
        "readable on the disk: who copies that can pose as its prompt"
    };
    rows.fact("", kept);
}

fn disk_text(own: &InstalledDisk) -> String {
    let mode = match own.mode {
        InstallMode::System => "system and state",
        InstallMode::StateOnly => "state only",
    };
    let slot = |label: &str, slot: Option<meadow_model::install::BootSlot>| {
        slot.map(|slot| format!(", {label} {}", slot.letter())).unwrap_or_default()
    };
    format!(
        "{} {}: {mode}{}{}{}{}",
        own.disk,
        own.serial,
        slot("runs", own.running),
        slot("keeps", own.blessed),
        slot("next once", own.tried),
        slot("went back from", own.went_back_from)
    )
}

fn kind(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Passphrase => "passphrase",
        KeyKind::Recovery => "recovery key",
        KeyKind::Tpm2 => "TPM",
        KeyKind::Peers => "peers",
    }
}

fn cards(network: Option<&NetworkView>, rows: &mut Rows<'_>) {
    let Some(network) = network else {
        return rows.fact("Network", "asking the agent");
    };
    if let Some(trial) = &network.trial {
        let text = format!("tries other settings for {} s more: n, then k keeps or b goes back", trial.left_s);
        rows.styled_fact("Network", &text, Style::new().fg(Color::Yellow));
    }
    if network.cards.is_empty() {
        rows.fact("Network", "no network card is found: look whether its driver is in the image");
    }
    for card in network.cards.iter().take(CARDS) {
        rows.long_fact(&card.card.name, &card_text(card, network), LINES, Style::new());
    }
    if let Some(more) = network.cards.len().checked_sub(CARDS + 1) {
        rows.fact("", &format!("and {} more", more + 1));
    }
}

/// What a card has now, and how it got it: what is tried counts.
pub(crate) fn card_text(card: &CardView, view: &NetworkView) -> String {
    if !card.carrier {
        return format!("{} no link: check the cable and the switch", card.card.mac);
    }
    let addresses = if card.addresses.is_empty() { "no address yet".to_owned() } else { card.addresses.join(" ") };
    let gateway = card.gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
    let in_force = view.trial.as_ref().map_or(&card.networks, |trial| &trial.networks);
    let fixed = in_force.iter().any(|network| network.card == card.card && network.address.is_some());
    let how = if fixed { "fixed" } else { "DHCP" };
    format!("{} {how} {addresses}{gateway}", card.card.mac)
}
