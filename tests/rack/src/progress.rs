//! What the person in front of the rack sees.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// Progress on standard error: on a terminal one line that changes, otherwise one line a change.
#[derive(Debug)]
pub struct Progress {
    begun: Instant,
    terminal: bool,
    status: String,
    shown: BTreeMap<String, String>,
    spoken: Instant,
}

/// Where there is no terminal, something is said at least this often.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);

impl Default for Progress {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            terminal: stderr().is_terminal(),
            status: String::new(),
            shown: BTreeMap::new(),
            spoken: Instant::now(),
        }
    }
}

impl Progress {
    /// A line that stays.
    pub fn line(&mut self, text: &str) {
        self.clear();
        eprintln!("[{:6.1} s] {text}", self.seconds());
    }

    /// What goes on now. Repeated on a terminal with the seconds, so that it is seen to live.
    pub fn status(&mut self, text: &str) {
        if self.terminal {
            let columns = terminal_columns();
            let line: String =
                format!("[{:6.1} s] {text}", self.seconds()).chars().take(columns.saturating_sub(1)).collect();
            eprint!("\r\x1b[K{line}");
            let _ = stderr().flush();
        } else if self.status != text {
            eprintln!("[{:6.1} s] {text}", self.seconds());
        }
        text.clone_into(&mut self.status);
    }

    /// What each of several does now.
    pub fn statuses(&mut self, statuses: &[(String, String)]) {
        if self.terminal {
            let parts: Vec<String> = statuses.iter().map(|(name, status)| format!("{name} {status}")).collect();
            return self.status(&parts.join(" · "));
        }
        let changed = |shown: &BTreeMap<String, String>, name, status: &str| {
            shown.get(name).is_none_or(|before| !without_numbers(before).eq(without_numbers(status)))
        };
        let quiet = self.spoken.elapsed() >= SIGN_OF_LIFE;
        for (name, status) in statuses {
            if quiet || changed(&self.shown, name, status) {
                let still = if changed(&self.shown, name, status) { "" } else { "still " };
                eprintln!("[{:6.1} s] {name}: {still}{status}", self.seconds());
                self.shown.insert(name.clone(), status.clone());
                self.spoken = Instant::now();
            }
        }
    }

    /// Seconds since the beginning.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    fn clear(&mut self) {
        if self.terminal && !self.status.is_empty() {
            eprint!("\r\x1b[K");
        }
        self.status.clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Seconds and percents change all the time, and are no news.
fn without_numbers(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|character| !character.is_ascii_digit())
}

fn terminal_columns() -> usize {
    rustix::termios::tcgetwinsize(stderr())
        .map_or(80, |size| if size.ws_col == 0 { 80 } else { usize::from(size.ws_col) })
}
