//! The editor of the network cards: tried for a minute, and kept only when somebody confirms.

use std::net::IpAddr;

use meadow_model::network::{CardNetwork, NetworkChange, NetworkView, NetworkWish, TRIAL_SECONDS};
use meadow_model::problem::FieldError;
use ratatui::style::{Color, Modifier, Style};

use crate::app::Wish;
use crate::field::Field;
use crate::keys::Key;
use crate::rows::Rows;
use crate::setup::card_text;

/// The lines of the form, from the top; the last three only for a fixed address.
const LINES: [(&str, &str); 6] = [
    ("Card", "card"),
    ("VLAN", "vlan"),
    ("Addresses", "mode"),
    ("Address", "address"),
    ("Router", "gateway"),
    ("DNS servers", "dns"),
];
const CARD: usize = 0;
const VLAN: usize = 1;
const MODE: usize = 2;
const ADDRESS: usize = 3;
const GATEWAY: usize = 4;
const DNS: usize = 5;

/// The editor.
#[derive(Default)]
pub(crate) struct Editor {
    card: usize,
    fixed: bool,
    texts: [Field; LINES.len()],
    at: usize,
    /// Whether the form shows the card that is chosen.
    filled: bool,
    errors: Vec<FieldError>,
}

impl Editor {
    /// Takes a key; what somebody wants by it.
    pub(crate) fn press(&mut self, key: Key, view: &NetworkView) -> Option<Wish> {
        if view.trial.is_some() {
            return match key {
                Key::Char('k') => Some(Wish::EndTrial { keep: true }),
                Key::Char('b') => Some(Wish::EndTrial { keep: false }),
                _ => None,
            };
        }
        if view.locked.is_some() || view.cards.is_empty() {
            return None;
        }
        match key {
            Key::Next => self.step(1),
            Key::Previous => self.step(LINES.len() - 1),
            Key::Left | Key::Right | Key::Char(' ') if self.at == CARD => {
                let step = if key == Key::Left { view.cards.len() - 1 } else { 1 };
                self.card = (self.card + step) % view.cards.len();
                self.filled = false;
            }
            Key::Left | Key::Right | Key::Char(' ') if self.at == MODE => self.fixed = !self.fixed,
            Key::Enter => return self.wanted(view),
            _ if self.at != CARD && self.at != MODE => drop(self.texts.get_mut(self.at).map(|text| text.press(key))),
            _ => {}
        }
        self.fill(view);
        None
    }

    /// To the next line that is shown.
    fn step(&mut self, by: usize) {
        self.at = (self.at + by) % LINES.len();
        while self.is_hidden(self.at) {
            self.at = (self.at + by) % LINES.len();
        }
    }

    /// DHCP tells address and router.
    fn is_hidden(&self, line: usize) -> bool {
        !self.fixed && matches!(line, ADDRESS | GATEWAY)
    }

    /// What was wrong with the last wish.
    pub(crate) fn refuse(&mut self, errors: Vec<FieldError>) {
        self.errors = errors;
    }

    /// Shows what the chosen card is told now, once.
    pub(crate) fn fill(&mut self, view: &NetworkView) {
        if self.filled {
            return;
        }
        let Some(card) = view.cards.get(self.card) else { return };
        self.filled = true;
        self.errors.clear();
        self.fixed = false;
        self.texts = Default::default();
        let Some(network) = card.networks.first() else { return };
        self.show(network);
    }

    fn show(&mut self, network: &CardNetwork) {
        self.fixed = network.address.is_some();
        let joined = |list: &[IpAddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let texts = [
            (VLAN, network.vlan.map(|vlan| vlan.to_string())),
            (ADDRESS, network.address.clone()),
            (GATEWAY, network.gateway.map(|gateway| gateway.to_string())),
            (DNS, Some(joined(&network.dns))),
        ];
        for (line, text) in texts {
            if let Some(field) = self.texts.get_mut(line) {
                *field = Field::of(text.as_deref().unwrap_or_default());
            }
        }
    }

    fn text(&self, line: usize) -> &str {
        self.texts.get(line).map_or("", |field| field.text().trim())
    }

    /// What the form says; nothing where a text cannot even be read, which is told at its line.
    fn wanted(&mut self, view: &NetworkView) -> Option<Wish> {
        self.errors.clear();
        let card = view.cards.get(self.card)?;
        let mut errors = Vec::new();
        let mut wrong = |line: usize, message: String| {
            let name = LINES.get(line).map_or("", |(_, name)| name);
            errors.push(FieldError { field: format!("/networks/0/{name}"), message });
        };
        let vlan = match self.text(VLAN) {
            "" => None,
            text => text.parse().map_err(|_| wrong(VLAN, "VLANs are numbered 1 to 4094".to_owned())).ok(),
        };
        let gateway: Option<IpAddr> = match self.text(GATEWAY) {
            text if text.is_empty() || !self.fixed => None,
            text => {
                text.parse().map_err(|_| wrong(GATEWAY, format!("\"{text}\" is no address, such as 192.0.2.1"))).ok()
            }
        };
        let words = self.text(DNS).split([' ', ',']).filter(|word| !word.is_empty());
        let servers: Result<Vec<IpAddr>, _> = words.map(str::parse).collect();
        let dns =
            servers.map_err(|_| wrong(DNS, "write addresses with blanks between them".to_owned())).unwrap_or_default();
        let address = self.fixed.then(|| self.text(ADDRESS).to_owned());
        self.errors = errors;
        let wish = NetworkWish { card: card.card.name.clone(), vlan, address, gateway, dns };
        self.errors.is_empty().then(|| Wish::Try(NetworkChange { networks: vec![wish] }))
    }

    /// Draws it.
    pub(crate) fn render(&self, view: Option<&NetworkView>, rows: &mut Rows<'_>) {
        let Some(view) = view else {
            return rows.line(" Asking the agent.", Style::new());
        };
        if let Some(why) = &view.locked {
            return rows.long_fact("Locked", why, 3, Style::new().fg(Color::Yellow));
        }
        if view.trial.is_some() {
            return trial(view, rows);
        }
        let Some(card) = view.cards.get(self.card) else {
            return rows.line(" No network card is found.", Style::new());
        };
        rows.long_fact("Now", &card_text(card, view), 2, Style::new());
        let told = card.networks.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        rows.long_fact("Told", if told.is_empty() { "DHCP" } else { &told }, 2, Style::new());
        rows.skip();
        for line in 0..LINES.len() {
            self.line(line, &card.card.name, rows);
        }
        rows.skip();
        let lasts = if view.lasts {
            "What you keep also counts at the next start, and while its state is opened."
        } else {
            "This machine has no disk to keep settings on: they count until it restarts."
        };
        rows.line(&format!(" {lasts}"), Style::new());
        rows.line(" Enter replaces all that this card is told, until you keep it or a minute is over.", Style::new());
    }

    fn line(&self, line: usize, card: &str, rows: &mut Rows<'_>) {
        let Some((label, name)) = LINES.get(line) else { return };
        if self.is_hidden(line) {
            return;
        }
        let value = match line {
            CARD => format!("< {card} >"),
            MODE => format!("< {} >", if self.fixed { "fixed" } else { "DHCP" }),
            _ => format!("[{}]", self.texts.get(line).map_or("", Field::text)),
        };
        let here = self.at == line;
        let style = if here { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        rows.styled_fact(label, &value, style);
        let field = format!("/networks/0/{name}");
        for error in self.errors.iter().filter(|error| error.field == field) {
            rows.long_fact("", &error.message, 2, Style::new().fg(Color::Red));
        }
    }
}

fn trial(view: &NetworkView, rows: &mut Rows<'_>) {
    let Some(trial) = &view.trial else { return };
    let style = Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD);
    let text = format!("for {} of {TRIAL_SECONDS} s more; then those before come back by themselves", trial.left_s);
    rows.long_fact("TRIED", &text, 2, style);
    rows.skip();
    for network in &trial.networks {
        rows.fact(&network.card.name, &network.to_string());
    }
    rows.skip();
    for card in &view.cards {
        rows.long_fact(&card.card.name, &card_text(card, view), 2, Style::new());
    }
    rows.skip();
    rows.line(" Does it work? k keeps these settings, b brings those before back now.", Style::new());
}
