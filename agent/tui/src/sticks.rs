//! What a stick that is plugged in can do for this machine: bring a newer image, or take a support bundle away.

use meadow_model::hardware::Disk;
use meadow_model::work::{StickUpdate, SupportTask};
use meadow_plan::layout;
use ratatui::style::{Color, Style};

use crate::app::Wish;
use crate::disks::{disk_text, reversed};
use crate::keys::Key;
use crate::rows::Rows;

/// Lines of what the agent says.
const LINES: usize = 4;

/// What the stick is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The system is updated from it.
    #[default]
    Update,
    /// A support bundle goes onto it.
    Bundle,
}

/// How far it is.
#[derive(Default)]
enum Step {
    /// A stick is chosen.
    #[default]
    Choose,
    /// It is asked whether this is meant.
    Consent { serial: String },
    /// It was handed over.
    Begun,
    /// What was done.
    Done { said: String },
}

/// The steps.
#[derive(Default)]
pub(crate) struct Sticks {
    purpose: Purpose,
    step: Step,
    selected: usize,
    allow_older: bool,
    said: Option<String>,
}

impl Sticks {
    pub(crate) fn new(purpose: Purpose) -> Self {
        Self { purpose, ..Self::default() }
    }

    /// Whether the agent works.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.step, Step::Begun)
    }

    /// It is done.
    pub(crate) fn done(&mut self, said: String) {
        self.step = Step::Done { said };
    }

    /// It did not work; back to the start.
    pub(crate) fn fail(&mut self, why: String) {
        self.step = Step::Choose;
        self.said = Some(why);
    }

    /// What the keys do now.
    pub(crate) fn hints(&self) -> &'static str {
        match (&self.step, self.purpose) {
            (Step::Choose, Purpose::Update) => {
                " Up/Down stick   a older too   Enter take it   l look again   Esc leave"
            }
            (Step::Choose, Purpose::Bundle) => " Up/Down stick   Enter write onto it   l look again   Esc leave",
            (Step::Consent { .. }, _) => " y update and restart   Esc leave, nothing is done",
            (Step::Begun, _) => "",
            (Step::Done { .. }, _) => " Esc leave",
        }
    }

    /// Takes a key; what somebody wants by it.
    pub(crate) fn press(&mut self, key: Key, disks: &[Disk]) -> Option<Wish> {
        match &self.step {
            Step::Choose => self.choose(key, disks),
            Step::Consent { serial } if key == Key::Char('y') => {
                let stick = serial.clone();
                self.step = Step::Begun;
                Some(Wish::Update(StickUpdate { stick, allow_older: self.allow_older }))
            }
            Step::Consent { .. } | Step::Begun | Step::Done { .. } => None,
        }
    }

    fn choose(&mut self, key: Key, disks: &[Disk]) -> Option<Wish> {
        let fit: Vec<&Disk> = self.fit(disks).collect();
        match key {
            Key::Next if self.selected + 1 < fit.len() => self.selected += 1,
            Key::Previous => self.selected = self.selected.saturating_sub(1),
            Key::Char('a') if self.purpose == Purpose::Update => self.allow_older = !self.allow_older,
            Key::Char('l') => return Some(Wish::LookAtDisks),
            Key::Enter => {
                let serial = fit.get(self.selected)?.serial.clone()?;
                self.said = None;
                if self.purpose == Purpose::Update {
                    self.step = Step::Consent { serial };
                    return None;
                }
                self.step = Step::Begun;
                return Some(Wish::Support(SupportTask { stick: serial }));
            }
            _ => {}
        }
        None
    }

    /// The disks that may be meant; whether one really does, the helper finds out.
    fn fit<'a>(&self, disks: &'a [Disk]) -> impl Iterator<Item = &'a Disk> {
        let purpose = self.purpose;
        disks.iter().filter(move |disk| {
            let has = |name: &str| disk.partitions.iter().any(|part| part.name.as_deref() == Some(name));
            let wanted = match purpose {
                Purpose::Update => has(layout::SEED),
                Purpose::Bundle => disk.in_use.is_empty() && matches!(disk.transport.as_deref(), Some("usb" | "mmc")),
            };
            wanted && !has(layout::STATE) && disk.serial.is_some()
        })
    }

    /// Draws it.
    pub(crate) fn render(&self, disks: Option<&[Disk]>, rows: &mut Rows<'_>) {
        if let Some(said) = &self.said {
            rows.long_fact("", said, LINES, Style::new().fg(Color::Red));
        }
        match &self.step {
            Step::Choose => self.render_sticks(disks, rows),
            Step::Consent { serial } => {
                rows.line(&format!(" Writes the image of the stick {serial} and restarts into it once."), Style::new());
                rows.line(
                    " It is kept when this machine is as well with it as before; else the image that",
                    Style::new(),
                );
                rows.line(
                    " runs now comes back by itself. The state has to be opened after the restart.",
                    Style::new(),
                );
                rows.skip();
                rows.line(" Press y to do it.", Style::new());
            }
            Step::Begun => {
                rows.line(" At work; this takes some minutes. Leave the stick in.", Style::new());
            }
            Step::Done { said } => rows.long_fact("Done", said, LINES, Style::new().fg(Color::Green)),
        }
    }

    fn render_sticks(&self, disks: Option<&[Disk]>, rows: &mut Rows<'_>) {
        match self.purpose {
            Purpose::Update => {
                rows.line(" Update from a stick with a newer image. Which one?", Style::new());
                let older = if self.allow_older { "yes" } else { "no: only a newer image is taken" };
                rows.fact("Older too", older);
            }
            Purpose::Bundle => {
                rows.line(
                    " A file for whoever helps goes onto a FAT stick: logs, disks, network, but no key",
                    Style::new(),
                );
                rows.line(" and no passphrase. Nothing else on the stick changes. Which one?", Style::new());
            }
        }
        rows.skip();
        let Some(disks) = disks else { return rows.line(" Looking at the disks.", Style::new()) };
        if self.fit(disks).next().is_none() {
            let none = match self.purpose {
                Purpose::Update => " No stick with a Meadow image is found: plug one in (meadow image flash), then l.",
                Purpose::Bundle => " No stick is found: plug one in, then l.",
            };
            rows.line(none, Style::new());
        }
        for (index, disk) in self.fit(disks).enumerate() {
            let style = if index == self.selected { reversed() } else { Style::new() };
            rows.styled_fact(&disk.name, &disk_text(disk), style);
        }
    }
}
