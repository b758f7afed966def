//! How the boot goes, for a person who does not want to unlock.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use crate::news::opened;
use crate::run_files::{Known, Opened, RunFiles, load, uptime};
use crate::session::time;
use crate::throttle::Attempts;

/// Prints the boot state, as PID 1 writes it, and what is known of the node's own.
#[must_use]
pub fn print() -> ExitCode {
    let files = RunFiles::here();
    let boot = fs::read_to_string(files.folder().join("boot-state"))
        .unwrap_or_else(|error| format!("the boot state cannot be read: {error}\n"));
    let attempts = load(&files.attempts()).unwrap_or_default();
    let text = boot + &render(load(&files.known()), opened(&files), attempts, uptime());
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn render(known: Option<Known>, opened: Option<Opened>, attempts: Attempts, now: Duration) -> String {
    let Some(known) = known else { return String::new() };
    let mut text = format!("\nstate:    {} (cluster {})\n", known.node, known.cluster);
    if let Some(opened) = opened {
        let _ = writeln!(text, "unlocked: by {}, key slot {}", opened.place, opened.slot);
        return text;
    }
    text.push_str("unlocked: no; log in without a command, or type the passphrase on a console\n");
    let pause = attempts.pause(now);
    if attempts.wrong > 0 {
        let next = if pause.is_zero() { "now".to_owned() } else { format!("in {}", time(pause)) };
        let _ = writeln!(text, "attempts: {} wrong so far, the next one {next}", attempts.wrong);
    }
    text
}

#[cfg(test)]
mod tests {
    use meadow_model::install::KeyKind;

    use super::*;

    #[test]
    fn waiting_wrong_and_open() {
        let known = || {
            Some(Known {
                device: "/dev/vda6".into(),
                luks_uuid: "secret-enough".to_owned(),
                node: "node-1".parse().unwrap(),
                cluster: "home".to_owned(),
                pin: false,
            })
        };
        let now = Duration::from_secs(50);
        assert_eq!(render(None, None, Attempts::default(), now), "");
        let waiting = render(known(), None, Attempts::default(), now);
        assert!(waiting.contains("node-1 (cluster home)") && !waiting.contains("attempts"), "{waiting}");
        let wrong = Attempts { wrong: 9, ..Attempts::default() }.failed(now);
        assert!(render(known(), None, wrong, now).contains("10 wrong so far, the next one in 15 min"));
        let opened = Opened { kind: KeyKind::Passphrase, slot: 2, place: "tty1".to_owned() };
        assert!(render(known(), Some(opened), wrong, now).ends_with("unlocked: by tty1, key slot 2\n"));
    }
}
