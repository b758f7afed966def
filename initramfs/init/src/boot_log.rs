//! Tells everybody how the boot goes: consoles, the boot state, the server, the report.

use std::sync::Mutex;
use std::time::Duration;

use crate::boot_state::{self, BootState};
use crate::console::Consoles;
use crate::lock;
use crate::progress::{Post, Poster};
use crate::root::Milestone;
use crate::system::{uptime, write_public};

/// An unchanged reason to wait is repeated this often.
const REMIND: Duration = Duration::from_secs(60);

/// The one place where messages go.
#[derive(Debug)]
pub struct BootLog {
    consoles: Consoles,
    poster: Poster,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    state: BootState,
    milestones: Vec<Milestone>,
    last_wait: Option<(String, Duration)>,
}

impl BootLog {
    /// A log to these consoles, and to the server as soon as there is one.
    #[must_use]
    pub fn new(consoles: Consoles, poster: Poster) -> Self {
        Self { consoles, poster, inner: Mutex::default() }
    }

    /// The boot reached a step: `meadow: STAGE DETAIL`.
    pub fn milestone(&self, stage: &str, detail: &str) {
        {
            let mut inner = lock(&self.inner);
            inner.state.stage = stage.to_owned();
            inner.state.percent = None;
            inner.state.waiting_for = None;
            inner.last_wait = None;
        }
        self.fact(stage, detail);
    }

    /// A milestone beside the way: it does not change the stage that the boot is in.
    pub fn fact(&self, stage: &str, detail: &str) {
        let at = uptime();
        let text = [stage, detail].join(" ").trim_end().to_owned();
        self.consoles.line(&format!("meadow: {text} ({:.1} s)", at.as_secs_f64()));
        self.update(|inner| {
            inner.state.remember(at, &text);
            let uptime_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
            inner.milestones.push(Milestone { stage: stage.to_owned(), uptime_ms });
        });
        self.poster.send(Post { stage: stage.to_owned(), percent: None, message: detail.to_owned() });
    }

    /// Something that a person should know.
    pub fn say(&self, text: &str) {
        self.consoles.line(&format!("meadow: {text}"));
        let stage = self.update(|inner| {
            inner.state.remember(uptime(), text);
            inner.state.stage.clone()
        });
        self.poster.send(Post { stage, percent: None, message: text.to_owned() });
    }

    /// The boot waits for something; said when it changes, and now and then.
    pub fn waiting(&self, what: &str) {
        let now = uptime();
        let news = self.update(|inner| {
            inner.state.waiting_for = Some(what.to_owned());
            let known = inner.last_wait.as_ref();
            if known.is_some_and(|(last, at)| last == what && now.saturating_sub(*at) < REMIND) {
                return false;
            }
            inner.last_wait = Some((what.to_owned(), now));
            inner.state.remember(now, &format!("waiting: {what}"));
            true
        });
        if news {
            self.consoles.line(&format!("meadow: waiting: {what}"));
        }
    }

    /// The server lets the boot not go on: a milestone when the reason is new, then a reminder.
    pub fn hold(&self, stage: &str, why: &str) {
        if lock(&self.inner).state.stage != stage {
            self.milestone(stage, "");
        }
        self.waiting(why);
    }

    /// Progress of a stage in percent, in place on the consoles.
    pub fn progress(&self, stage: &str, percent: u8, message: &str) {
        self.consoles.progress(&format!("meadow: {stage} {percent} % {message}"));
        self.update(|inner| {
            inner.state.stage = stage.to_owned();
            inner.state.percent = Some(percent);
            inner.state.waiting_for = None;
        });
        self.poster.send(Post { stage: stage.to_owned(), percent: Some(percent), message: message.to_owned() });
    }

    /// Replaces the lines about the network cards.
    pub fn set_network(&self, lines: Vec<String>) {
        self.update(|inner| inner.state.network = lines);
    }

    /// All milestones so far.
    #[must_use]
    pub fn milestones(&self) -> Vec<Milestone> {
        lock(&self.inner).milestones.clone()
    }

    /// Terminals for the booted system's console.
    #[must_use]
    pub fn terminals(&self) -> &[String] {
        self.consoles.terminals()
    }

    /// Gives consoles and server a moment to take what was said.
    pub fn flush(&self) {
        self.poster.flush();
        self.consoles.flush();
    }

    /// Writes to the consoles only: for what cannot wait for a lock, such as a panic.
    pub fn shout(&self, text: &str) {
        self.consoles.line(&format!("meadow: {text}"));
    }

    fn update<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = lock(&self.inner);
        let result = change(&mut inner);
        // Without the file SSH says that it cannot be read; the boot itself does not need it.
        let _ = write_public(boot_state::PATH, inner.state.render().as_bytes());
        result
    }
}
