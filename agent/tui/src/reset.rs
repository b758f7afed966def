//! Erasing this node's state for good, step by step.

use std::collections::BTreeSet;

use meadow_model::hardware::Disk;
use meadow_model::reset::{ErasedDisk, ResetPlan, ResetRequest};
use ratatui::style::{Color, Modifier, Style};

use crate::app::Wish;
use crate::disks::{disk_text, gigabytes, reversed};
use crate::field::Field;
use crate::keys::Key;
use crate::rows::Rows;

/// Lines of what is lost on one disk, and of what stays.
const LINES: usize = 3;

/// How far it is.
#[derive(Default)]
enum Step {
    /// Further disks are chosen, or none.
    #[default]
    Choose,
    /// The plan is asked for.
    Asked,
    /// The plan is shown; each disk's serial number is typed, then the node's name.
    Consent { plan: Box<ResetPlan>, agreed: usize, typed: Field },
    /// It was handed over.
    Begun,
    /// All is done; how far further disks were erased.
    Done(Vec<ErasedDisk>),
}

/// The steps.
#[derive(Default)]
pub(crate) struct Reset {
    step: Step,
    selected: usize,
    /// Serial numbers of further disks to wipe.
    marked: BTreeSet<String>,
    said: Option<String>,
}

impl Reset {
    /// Whether the agent works.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.step, Step::Begun)
    }

    /// The plan is there.
    pub(crate) fn planned(&mut self, plan: ResetPlan) {
        self.said = None;
        self.step = Step::Consent { plan: Box::new(plan), agreed: 0, typed: Field::default() };
    }

    /// It is erased.
    pub(crate) fn done(&mut self, erased: Vec<ErasedDisk>) {
        self.step = Step::Done(erased);
    }

    /// It did not work; back to the start.
    pub(crate) fn fail(&mut self, why: String) {
        self.step = Step::Choose;
        self.said = Some(why);
    }

    /// What the keys do now.
    pub(crate) fn hints(&self) -> &'static str {
        match self.step {
            Step::Choose => " Up/Down disk   Space wipe that disk too   Enter show the plan   Esc leave",
            Step::Consent { .. } => " Enter go on   Esc leave, nothing is done",
            Step::Done(_) => " Esc leave",
            Step::Asked | Step::Begun => "",
        }
    }

    /// Takes a key; what somebody wants by it.
    pub(crate) fn press(&mut self, key: Key, disks: &[Disk]) -> Option<Wish> {
        match &mut self.step {
            Step::Choose => self.choose(key, disks),
            Step::Consent { .. } if key == Key::Enter => self.consent(),
            Step::Consent { typed, .. } => {
                typed.press(key);
                None
            }
            Step::Asked | Step::Begun | Step::Done(_) => None,
        }
    }

    fn choose(&mut self, key: Key, disks: &[Disk]) -> Option<Wish> {
        let wipeable: Vec<&Disk> = wipeable(disks).collect();
        match key {
            Key::Next if self.selected + 1 < wipeable.len() => self.selected += 1,
            Key::Previous => self.selected = self.selected.saturating_sub(1),
            Key::Char(' ') => {
                let serial = wipeable.get(self.selected)?.serial.clone()?;
                if !self.marked.remove(&serial) {
                    self.marked.insert(serial);
                }
            }
            Key::Enter => {
                (self.step, self.said) = (Step::Asked, None);
                return Some(Wish::PlanReset { disks: self.marked.iter().cloned().collect() });
            }
            _ => {}
        }
        None
    }

    fn consent(&mut self) -> Option<Wish> {
        let Step::Consent { plan, agreed, typed } = std::mem::take(&mut self.step) else { return None };
        let asked = plan.wipes.get(agreed);
        if typed.text().trim() != asked.map_or(plan.node.as_str(), |wiped| wiped.serial.as_str()) {
            self.said = Some("that is something else; nothing was done".to_owned());
            self.step = Step::Consent { plan, agreed, typed: Field::default() };
            return None;
        }
        self.said = None;
        if asked.is_some() {
            self.step = Step::Consent { plan, agreed: agreed + 1, typed: Field::default() };
            return None;
        }
        self.step = Step::Begun;
        let disks = plan.wipes.into_iter().map(|wiped| wiped.serial).collect();
        Some(Wish::Reset(ResetRequest { disks, consent: Some(plan.hash) }))
    }

    /// Draws it.
    pub(crate) fn render(&self, disks: Option<&[Disk]>, rows: &mut Rows<'_>) {
        if let Some(said) = &self.said {
            rows.long_fact("", said, LINES, Style::new().fg(Color::Red));
        }
        match &self.step {
            Step::Choose => self.render_disks(disks, rows),
            Step::Asked => rows.line(" Making a plan.", Style::new()),
            Step::Consent { plan, agreed, typed } => render_plan(plan, *agreed, typed, rows),
            Step::Begun => {
                rows.line(" Erasing; if the power fails, the next start brings it to its end.", Style::new())
            }
            Step::Done(erased) => {
                for disk in erased {
                    rows.long_fact("", &disk.to_string(), LINES, Style::new());
                }
                rows.line(
                    " Erased. This computer restarts as a new machine. If its cluster could not be",
                    Style::new(),
                );
                rows.line(" reached, take the node out there: meadow node remove NAME", Style::new());
            }
        }
    }

    fn render_disks(&self, disks: Option<&[Disk]>, rows: &mut Rows<'_>) {
        rows.line(" Factory reset: this node forgets who it is and all that it keeps, for ever. No", Style::new());
        rows.line(" passphrase and no recovery key opens its state again. Its system stays, and", Style::new());
        rows.line(" starts as a new machine. Other disks are left alone, but for those marked here:", Style::new());
        rows.skip();
        let Some(disks) = disks else { return rows.line(" Looking at the disks.", Style::new()) };
        for (index, disk) in wipeable(disks).enumerate() {
            let marked = disk.serial.as_ref().is_some_and(|serial| self.marked.contains(serial));
            let mark = if marked { "[WIPE]" } else { "[keep]" };
            let style = if index == self.selected { reversed() } else { Style::new() };
            rows.styled_fact(&disk.name, &format!("{mark} {}", disk_text(disk)), style);
        }
    }
}

/// What may be wiped beside the state: whatever is in use is left out, and so is what nobody can name.
fn wipeable(disks: &[Disk]) -> impl Iterator<Item = &Disk> {
    disks.iter().filter(|disk| disk.in_use.is_empty() && disk.serial.is_some() && !disk.read_only)
}

fn render_plan(plan: &ResetPlan, agreed: usize, typed: &Field, rows: &mut Rows<'_>) {
    let red = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
    match &plan.own {
        Some(own) => {
            let text = format!("the state of {} on the disk {} {}", plan.node, own.disk, own.serial);
            rows.long_fact("ERASED", &text, LINES, red);
        }
        None => rows.long_fact("ERASED", "nothing: no state is kept on a disk here", LINES, Style::new()),
    }
    for wiped in &plan.wipes {
        let model = wiped.model.as_deref().unwrap_or("disk");
        let what = format!("{} {} ({model}, {})", wiped.disk, wiped.serial, gigabytes(wiped.size_bytes));
        rows.long_fact("WIPED", &what, LINES, red);
        if !wiped.loses.is_empty() {
            rows.long_fact("LOST", &wiped.loses.join(", "), LINES, red);
        }
    }
    if !plan.keeps.is_empty() {
        rows.long_fact("Left alone", &plan.keeps.join("; "), LINES, Style::new());
    }
    rows.skip();
    let asked = match plan.wipes.get(agreed) {
        Some(wiped) => format!(" Type the serial number {} to wipe that disk, then Enter.", wiped.serial),
        None => format!(" Type {} to erase all of the above, then Enter; Escape leaves.", plan.node),
    };
    rows.line(&asked, Style::new());
    rows.styled_fact("", &format!("[{}]", typed.text()), reversed());
}
