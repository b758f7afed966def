//! A login over SSH: the prompt and nothing else.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use crate::attempt::{Attempt, Outcome};
use crate::line::{self, NoLine};
use crate::news::{News, already_open, opened};
use crate::run_files::{Known, RunFiles, load};
use crate::status;
use crate::terminal::{Answer, Keys, Terminal};

/// A wrong passphrase, or none.
pub const WRONG: u8 = 1;
/// A command that does not exist here.
pub const USAGE: u8 = 2;
/// Too many wrong ones: later.
pub const LATER: u8 = 3;
/// Nothing that is typed opens it as it is.
pub const IMPOSSIBLE: u8 = 4;

/// Asks until it is open, where there is a terminal; else takes one line from standard input.
#[must_use]
pub fn run() -> ExitCode {
    let files = RunFiles::here();
    if let Some(opened) = opened(&files) {
        println!("{}", already_open(&opened));
        return ExitCode::SUCCESS;
    }
    let Some(known) = load::<Known>(&files.known()) else { return status::print() };
    let ended = News::listen(&files).and_then(|news| {
        let attempt = Attempt { files: &files, known: &known, news: &news, place: "ssh" };
        let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        if stdin.is_terminal() { ask(&attempt, stdin) } else { Ok(take_line(&attempt, &stdin)) }
    });
    ended.unwrap_or_else(|error| {
        eprintln!("this session broke off ({error}): log in again, or use the console");
        ExitCode::from(IMPOSSIBLE)
    })
}

fn ask(attempt: &Attempt<'_>, stdin: File) -> io::Result<ExitCode> {
    let terminal = Terminal::hide(stdin, Keys::Usual)?;
    let known = attempt.known;
    terminal.say(&format!("The state of {} (cluster {}) is locked.", known.node, known.cluster));
    loop {
        let line = match terminal.ask(&prompt(known), attempt.news)? {
            Answer::Line(line) => line,
            Answer::Odd(why) => {
                terminal.say(&format!("{why}; type it again"));
                continue;
            }
            Answer::End => return Ok(ExitCode::from(WRONG)),
            Answer::Opened(opened) => {
                terminal.say(&format!("\n{}", already_open(&opened)));
                return Ok(ExitCode::SUCCESS);
            }
        };
        let outcome = attempt.run(line.text(), &mut |text| terminal.say(text));
        drop(line);
        terminal.say(&describe(&outcome, known));
        if !matches!(outcome, Outcome::Wrong(_)) {
            return Ok(exit(&outcome));
        }
    }
}

fn take_line(attempt: &Attempt<'_>, stdin: &File) -> ExitCode {
    let line = match line::read(stdin) {
        Ok(line) => line,
        Err(error) => {
            eprintln!("{}; send the passphrase or recovery key as one line on standard input", reason(&error));
            return ExitCode::from(WRONG);
        }
    };
    let outcome = attempt.run(line.text(), &mut |text| eprintln!("{text}"));
    drop(line);
    let text = describe(&outcome, attempt.known);
    match outcome {
        Outcome::Opened(_) | Outcome::OpenedElsewhere(_) => println!("{text}"),
        _ => eprintln!("{text}"),
    }
    exit(&outcome)
}

fn reason(error: &NoLine) -> String {
    match error {
        NoLine::End => "nothing came".to_owned(),
        NoLine::TooLong => "that is longer than any passphrase".to_owned(),
        NoLine::NotText => "that is no text in UTF-8".to_owned(),
        NoLine::Io(error) => format!("standard input cannot be read ({error})"),
    }
}

/// What a person is asked.
#[must_use]
pub fn prompt(known: &Known) -> String {
    let pin = if known.pin { "PIN, passphrase" } else { "Passphrase" };
    format!("{pin} or recovery key of {}: ", known.node)
}

/// What a person is told.
#[must_use]
pub fn describe(outcome: &Outcome, known: &Known) -> String {
    match outcome {
        Outcome::Opened(_) => format!("{} is unlocked and goes on booting", known.node),
        Outcome::OpenedElsewhere(opened) => already_open(opened),
        Outcome::Wrong(why) => why.clone(),
        Outcome::Later(pause) => {
            format!("too many wrong ones: the next attempt is possible in {}; this one was not tried", time(*pause))
        }
        Outcome::Impossible(why) => why.clone(),
    }
}

fn exit(outcome: &Outcome) -> ExitCode {
    match outcome {
        Outcome::Opened(_) | Outcome::OpenedElsewhere(_) => ExitCode::SUCCESS,
        Outcome::Wrong(_) => ExitCode::from(WRONG),
        Outcome::Later(_) => ExitCode::from(LATER),
        Outcome::Impossible(_) => ExitCode::from(IMPOSSIBLE),
    }
}

/// `13 min` or `40 s`.
#[must_use]
pub fn time(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 120 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} s", seconds.max(1)),
    }
}
