//! Installing this node onto one of its disks, step by step.

use meadow_client::ClientError;
use meadow_host::wireguard::PrivateKey;
use meadow_model::hardware::Disk;
use meadow_model::install::{InstallMode, InstallPlan};
use meadow_model::operation::{Operation, OperationState};
use meadow_model::{Name, ProblemCode, Secret};
use ratatui::style::{Color, Modifier, Style};

use crate::app::{Wish, told};
use crate::disks::{disk_text, gigabytes, reversed};
use crate::field::Field;
use crate::keys::Key;
use crate::rows::Rows;

/// Shorter passphrases are guessed, as `meadow node install` says too.
const SHORTEST: usize = 8;
/// What somebody types who has the recovery key on paper.
const WRITTEN: &str = "written";

/// How far it is.
#[derive(Default)]
pub(crate) enum Step {
    /// A disk is chosen.
    #[default]
    Choose,
    /// The plan is asked for.
    Asked,
    /// The plan is shown, and the serial number typed again.
    Consent { plan: Box<InstallPlan>, typed: Field },
    /// The passphrase is typed.
    Passphrase { plan: Box<InstallPlan>, first: Field },
    /// It is typed again.
    Again { plan: Box<InstallPlan>, first: Field, second: Field },
    /// It was handed over.
    Begun,
    /// The node works.
    Running { operation: Box<Operation>, answer: PrivateKey },
    /// The recovery key is shown.
    RecoveryKey { node: Name, key: Secret<String>, typed: Field },
    /// All is done.
    Done,
}

/// The steps.
#[derive(Default)]
pub(crate) struct Installation {
    pub(crate) step: Step,
    selected: usize,
    mode: InstallMode,
    said: Option<String>,
    /// Whether somebody was told what leaving loses, and has done nothing else since.
    warned: bool,
}

impl Installation {
    /// Whether leaving it would lose something that nobody sees again.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.step, Step::Begun | Step::Running { .. } | Step::RecoveryKey { .. })
    }

    /// Escape was pressed: whether to stay, since what leaving loses is told first.
    pub(crate) fn stays(&mut self) -> bool {
        let told = std::mem::replace(&mut self.warned, true);
        self.loses().is_some() && (!told || matches!(self.step, Step::Begun))
    }

    /// What leaving now loses.
    fn loses(&self) -> Option<String> {
        let (node, what) = match &self.step {
            Step::Begun => return Some("it goes on; stay until it has ended".to_owned()),
            Step::Running { operation, .. } => {
                (&operation.spec.target, "The installation goes on, and its recovery key is shown to nobody.")
            }
            Step::RecoveryKey { node, .. } => (node, "This recovery key is never shown again."),
            _ => return None,
        };
        Some(format!("Escape again leaves. {what} Another one is made with: meadow node keys recovery {node}"))
    }

    /// The operation to follow.
    pub(crate) fn follows(&self) -> Option<&Name> {
        match &self.step {
            Step::Running { operation, .. } => Some(&operation.metadata.name),
            _ => None,
        }
    }

    /// The plan is there.
    pub(crate) fn planned(&mut self, plan: InstallPlan) {
        self.said = None;
        self.step = Step::Consent { plan: Box::new(plan), typed: Field::default() };
    }

    /// It has begun; `answer` opens the recovery key.
    pub(crate) fn begun(&mut self, operation: Operation, answer: PrivateKey) {
        self.step = Step::Running { operation: Box::new(operation), answer };
    }

    /// How the operation stands; whether its answer is to be fetched.
    pub(crate) fn followed(&mut self, newer: Operation) -> bool {
        let Step::Running { operation, .. } = &mut self.step else { return false };
        **operation = newer;
        self.said = None;
        match operation.status.state {
            OperationState::Running => false,
            OperationState::Failed => {
                let why = operation.status.error.clone().unwrap_or_else(|| "the operation tells no reason".to_owned());
                self.fail(why);
                false
            }
            OperationState::Succeeded => true,
        }
    }

    /// The cluster did not tell how the operation stands. What it has forgotten it never tells; otherwise it is asked
    /// again.
    pub(crate) fn not_followed(&mut self, error: &ClientError) {
        let Step::Running { operation, .. } = &self.step else { return };
        match error.problem() {
            Some(problem) if problem.code == ProblemCode::NotFound => {
                let node = &operation.spec.target;
                self.fail(format!(
                    "{} is forgotten, so how it ended is not known here, and nobody has its recovery key; if `meadow node show {node}` shows it installed, ask for one: meadow node keys recovery {node}",
                    operation.metadata.name
                ));
            }
            _ => self.said = Some(format!("{} It is asked again.", told(error))),
        }
    }

    /// The key that opens the answer.
    pub(crate) fn answer_key(&self) -> Option<&PrivateKey> {
        match &self.step {
            Step::Running { answer, .. } => Some(answer),
            _ => None,
        }
    }

    /// The recovery key has come.
    pub(crate) fn recovery_key(&mut self, key: Secret<String>) {
        let Step::Running { operation, .. } = &self.step else { return };
        self.step = Step::RecoveryKey { node: operation.spec.target.clone(), key, typed: Field::default() };
    }

    /// It did not work; back to the start.
    pub(crate) fn fail(&mut self, why: String) {
        self.step = Step::Choose;
        self.said = Some(why);
    }

    /// What the keys do now.
    pub(crate) fn hints(&self) -> &'static str {
        match self.step {
            Step::Choose => " Up/Down disk   m system or state only   Enter show the plan   Esc leave",
            Step::Consent { .. } | Step::Passphrase { .. } | Step::Again { .. } => {
                " Enter go on   Esc leave, nothing is done"
            }
            Step::RecoveryKey { .. } => " Enter go on",
            Step::Done => " r restart   Esc leave",
            Step::Asked | Step::Begun | Step::Running { .. } => "",
        }
    }

    /// Takes a key; what somebody wants by it.
    pub(crate) fn press(&mut self, key: Key, disks: &[Disk]) -> Option<Wish> {
        self.warned = false;
        match &mut self.step {
            Step::Choose => return self.choose(key, disks),
            Step::Consent { typed, .. } => {
                if key == Key::Enter {
                    return self.consent();
                }
                typed.press(key);
            }
            Step::Passphrase { first, .. } => {
                if key == Key::Enter {
                    return self.first();
                }
                first.press(key);
            }
            Step::Again { second, .. } => {
                if key == Key::Enter {
                    return self.second();
                }
                second.press(key);
            }
            Step::RecoveryKey { typed, .. } => {
                typed.press(key);
                if key == Key::Enter && typed.text().trim() == WRITTEN {
                    self.step = Step::Done;
                }
            }
            Step::Done if key == Key::Char('r') => return Some(Wish::Restart),
            Step::Asked | Step::Begun | Step::Running { .. } | Step::Done => {}
        }
        None
    }

    fn choose(&mut self, key: Key, disks: &[Disk]) -> Option<Wish> {
        match key {
            Key::Next if self.selected + 1 < disks.len() => self.selected += 1,
            Key::Previous => self.selected = self.selected.saturating_sub(1),
            Key::Char('m') => {
                self.mode = match self.mode {
                    InstallMode::System => InstallMode::StateOnly,
                    InstallMode::StateOnly => InstallMode::System,
                }
            }
            Key::Enter => {
                let Some(serial) = disks.get(self.selected)?.serial.clone() else {
                    self.said = Some("this disk tells no serial number, so nobody can consent to wipe it".to_owned());
                    return None;
                };
                self.step = Step::Asked;
                self.said = None;
                return Some(Wish::Plan { serial, mode: self.mode });
            }
            _ => {}
        }
        None
    }

    fn consent(&mut self) -> Option<Wish> {
        let Step::Consent { plan, typed } = std::mem::take(&mut self.step) else { return None };
        if typed.text().trim() == plan.serial {
            self.said = None;
            self.step = Step::Passphrase { plan, first: Field::default() };
        } else {
            self.said = Some("that is another serial number; nothing was done".to_owned());
            self.step = Step::Consent { plan, typed: Field::default() };
        }
        None
    }

    fn first(&mut self) -> Option<Wish> {
        let Step::Passphrase { plan, first } = std::mem::take(&mut self.step) else { return None };
        let length = first.text().chars().count();
        self.step = if !first.text().is_ascii() {
            self.said = Some(
                "a keyboard without its layout, as here, types other letters than over SSH; take only letters without accents, digits and signs that a US keyboard has".to_owned(),
            );
            Step::Passphrase { plan, first: Field::default() }
        } else if length < SHORTEST {
            self.said = Some(format!("{length} characters are guessed; take at least {SHORTEST}, better five words"));
            Step::Passphrase { plan, first: Field::default() }
        } else {
            self.said = None;
            Step::Again { plan, first, second: Field::default() }
        };
        None
    }

    fn second(&mut self) -> Option<Wish> {
        let Step::Again { plan, mut first, second } = std::mem::take(&mut self.step) else { return None };
        if first.text() == second.text() {
            self.step = Step::Begun;
            return Some(Wish::Install { plan, passphrase: first.take() });
        }
        self.said = Some("the two passphrases differ; type them again".to_owned());
        self.step = Step::Passphrase { plan, first: Field::default() };
        None
    }

    /// Draws it.
    pub(crate) fn render(&self, disks: &[Disk], rows: &mut Rows<'_>) {
        if let Some(said) = &self.said {
            rows.long_fact("", said, 4, Style::new().fg(Color::Red));
        }
        if let Some(lost) = self.loses().filter(|_| self.warned) {
            rows.long_fact("", &lost, 4, Style::new().fg(Color::Red));
        }
        match &self.step {
            Step::Choose => self.render_disks(disks, rows),
            Step::Asked => rows.line(" Asking the cluster for a plan.", Style::new()),
            Step::Consent { plan, typed } => {
                render_plan(plan, rows);
                rows.skip();
                rows.line(" Type the serial number of this disk to wipe it, then Enter; Escape leaves.", Style::new());
                rows.styled_fact("Serial", &format!("[{}]", typed.text()), reversed());
            }
            Step::Passphrase { plan, .. } => hidden(plan, "New passphrase of the state", rows),
            Step::Again { plan, .. } => hidden(plan, "The same again", rows),
            Step::Begun => rows.line(" Handing it over.", Style::new()),
            Step::Running { operation, .. } => {
                rows.line(&format!(" Installing ({}); leave it switched on.", operation.metadata.name), Style::new());
                rows.skip();
                let room = usize::from(rows.height());
                let skipped = operation.status.steps.len().saturating_sub(room);
                operation.status.steps.iter().skip(skipped).for_each(|step| rows.fact("", &step.message));
            }
            Step::RecoveryKey { key, typed, .. } => {
                rows.line(" Installed. This key opens the state when the passphrase is lost. It is", Style::new());
                rows.line(" shown this once: write it on paper.", Style::new());
                rows.skip();
                for line in grouped(key.expose()) {
                    rows.styled_fact("", &line, Style::new().add_modifier(Modifier::BOLD));
                }
                rows.skip();
                rows.line(&format!(" I have written it down (type: {WRITTEN}, then Enter)"), Style::new());
                rows.styled_fact("", &format!("[{}]", typed.text()), reversed());
            }
            Step::Done => {
                rows.line(
                    " Installed. r restarts this machine into its disk; pull a stick first, unless its",
                    Style::new(),
                );
                rows.line(" seed says `install`. It then waits for its passphrase, here and over SSH.", Style::new());
            }
        }
    }

    fn render_disks(&self, disks: &[Disk], rows: &mut Rows<'_>) {
        let mode = match self.mode {
            InstallMode::System => "the system and its state",
            InstallMode::StateOnly => "only its state; it goes on booting over the network",
        };
        rows.fact("Puts there", mode);
        rows.skip();
        if disks.is_empty() {
            rows.line(" No disk is known; this machine has to be a node first.", Style::new());
        }
        for (index, disk) in disks.iter().enumerate() {
            let style = if index == self.selected { reversed() } else { Style::new() };
            rows.styled_fact(&disk.name, &disk_text(disk), style);
        }
    }
}

fn hidden(plan: &InstallPlan, what: &str, rows: &mut Rows<'_>) {
    rows.fact("Disk", &format!("{} {}", plan.disk, plan.serial));
    rows.skip();
    rows.line(&format!(" {what} (not shown while you type), then Enter:"), Style::new());
    rows.line(" A keyboard at this machine types as a US one; over SSH yours types as it is.", Style::new());
}

fn render_plan(plan: &InstallPlan, rows: &mut Rows<'_>) {
    let model = plan.model.as_deref().unwrap_or("disk");
    rows.fact("Disk", &format!("{} {} ({model}, {})", plan.disk, plan.serial, gigabytes(plan.size_bytes)));
    match plan.loses.as_slice() {
        [] => rows.fact("LOST", "nothing: it is blank"),
        loses => rows.long_fact("LOST", &loses.join(", "), 6, Style::new().fg(Color::Red).add_modifier(Modifier::BOLD)),
    }
    let parts = plan.partitions.iter().map(|part| format!("{} {}", part.name, gigabytes(part.size)));
    rows.long_fact("Becomes", &parts.collect::<Vec<_>>().join(", "), 4, Style::new());
    rows.fact("Free", &gigabytes(plan.free_bytes));
}

/// A key in lines of four groups.
fn grouped(key: &str) -> Vec<String> {
    let groups: Vec<&str> = key.trim().split('-').collect();
    groups.chunks(4).map(|line| line.join("-")).collect()
}

#[cfg(test)]
mod tests {
    use meadow_host::SystemEntropy;
    use meadow_model::Problem;

    use super::*;

    fn running() -> Installation {
        let operation = serde_json::from_value(serde_json::json!({
            "kind": "Operation", "metadata": {"name": "op-7", "revision": 1, "created": "2026-11-28T00:00:00Z"},
            "spec": {"action": "install", "kind": "Node", "target": "node-1", "actor": "admin"},
            "status": {"state": "running", "steps": [], "error": null, "ended": null},
        }));
        let mut installation = Installation::default();
        installation.begun(operation.expect("an operation"), PrivateKey::generate(&SystemEntropy).expect("a key"));
        installation
    }

    fn problem(code: ProblemCode, detail: &str) -> ClientError {
        ClientError::Problem(Box::new(Problem::new(code, detail)))
    }

    /// What the API answers for an operation that is not there any more.
    #[test]
    fn an_installation_that_the_cluster_has_forgotten_ends_with_what_to_type() {
        let mut installation = running();
        installation.not_followed(&problem(ProblemCode::NotFound, "there is no operation op-7"));
        assert!(matches!(installation.step, Step::Choose));
        let said = installation.said.expect("why");
        assert!(
            said.contains("nobody has its recovery key") && said.ends_with("meadow node keys recovery node-1"),
            "{said}"
        );
    }

    #[test]
    fn an_installation_that_is_not_told_of_goes_on_and_says_why() {
        let mut installation = running();
        installation.not_followed(&problem(ProblemCode::NoQuorum, "two voters are silent"));
        assert_eq!(
            installation.said.as_deref(),
            Some("two voters are silent. Start the other voters. It is asked again.")
        );
        let Step::Running { operation, .. } = &installation.step else { panic!("it goes on") };
        let newer = (**operation).clone();
        assert!(!installation.followed(newer) && installation.said.is_none(), "the cluster tells again");
    }

    #[test]
    fn leaving_takes_a_second_press_that_was_told_what_is_lost() {
        let mut installation = running();
        assert!(installation.stays() && installation.loses().expect("a key").contains("recovery key"));
        installation.press(Key::Other, &[]);
        assert!(installation.stays(), "another key between");
        assert!(!installation.stays());

        let mut shown = running();
        shown.recovery_key(Secret::new("AAAA".to_owned()));
        assert!(shown.stays() && !shown.stays());
        let mut handing_over = Installation { step: Step::Begun, ..Installation::default() };
        assert!(handing_over.stays() && handing_over.stays());
        let mut choosing = Installation::default();
        assert!(!choosing.stays());
    }
}
