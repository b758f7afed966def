//! What the machine is doing, for a person: shown by `/bin/boot-state` over SSH.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

/// Where PID 1 writes the state, and the forced command reads it.
pub const PATH: &str = "/run/meadow/boot-state";
const MESSAGES: usize = 20;

/// The state of the boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootState {
    /// The last milestone.
    pub stage: String,
    /// How far the stage is, where that is known.
    pub percent: Option<u8>,
    /// One line a network card.
    pub network: Vec<String>,
    /// What the boot waits for, if it waits.
    pub waiting_for: Option<String>,
    messages: VecDeque<(Duration, String)>,
}

impl BootState {
    /// Keeps a message among the last ones.
    pub fn remember(&mut self, at: Duration, message: &str) {
        if self.messages.len() == MESSAGES {
            self.messages.pop_front();
        }
        self.messages.push_back((at, message.to_owned()));
    }

    /// The text for a person.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::from("This machine is booting Meadow; it has no shell.\n\n");
        let stage = if self.stage.is_empty() { "init" } else { &self.stage };
        let percent = self.percent.map_or_else(String::new, |percent| format!(" {percent} %"));
        let _ = writeln!(text, "stage:    {stage}{percent}");
        for (number, line) in self.network.iter().enumerate() {
            let label = if number == 0 { "network: " } else { "         " };
            let _ = writeln!(text, "{label} {line}");
        }
        let _ = writeln!(text, "waiting:  {}", self.waiting_for.as_deref().unwrap_or("no"));
        text.push_str("\nlast messages (seconds since the kernel started):\n");
        for (at, message) in &self.messages {
            let _ = writeln!(text, "{:9.3}  {message}", at.as_secs_f64());
        }
        text
    }
}

/// Prints the state to standard output: all that a login gets.
#[must_use]
pub fn print() -> ExitCode {
    let text =
        std::fs::read_to_string(PATH).unwrap_or_else(|error| format!("the boot state cannot be read: {error}\n"));
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_stage_network_waiting_and_the_last_messages() {
        let mut state = BootState {
            stage: "root-download".to_owned(),
            percent: Some(40),
            network: vec!["eth0 192.0.2.10/24".to_owned(), "eth1 no carrier".to_owned()],
            waiting_for: Some("the boot policy".to_owned()),
            ..BootState::default()
        };
        for number in 0..25 {
            state.remember(Duration::from_millis(number * 100), &format!("message {number}"));
        }
        let text = state.render();
        assert!(text.contains("stage:    root-download 40 %\nnetwork:  eth0 192.0.2.10/24\n          eth1 no carrier\nwaiting:  the boot policy\n"));
        assert!(!text.contains("message 4\n"));
        assert!(text.contains("    0.500  message 5\n"));
        assert!(text.ends_with("    2.400  message 24\n"));
    }
}
