//! The prompt on a console: nobody has to log in there, and nobody leaves it.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;
use std::time::Duration;

use rustix::fs::OFlags;

use crate::attempt::{Attempt, Outcome};
use crate::news::{Event, News, already_open};
use crate::run_files::{Known, RunFiles, load, uptime};
use crate::session::{describe, prompt};
use crate::terminal::{Answer, Keys, Terminal};

/// Between prompts where typing does not help, or where a terminal reads nothing but ends.
const PAUSE: Duration = Duration::from_secs(10);

/// Asks on `/dev/NAME` until the state is open.
#[must_use]
pub fn run(name: &str) -> ExitCode {
    match ask(name) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the console {name} fails: {error}; use SSH or another one");
            ExitCode::FAILURE
        }
    }
}

/// What a person is asked. A screen's keyboard has no layout loaded; what is typed over SSH or a serial line comes as its
/// sender's keyboard has it.
fn asked(known: &Known, name: &str) -> String {
    let asked = prompt(known);
    let is_screen = name.strip_prefix("tty").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    if is_screen { format!("(keys as on a US keyboard) {asked}") } else { asked }
}

fn ask(name: &str) -> io::Result<()> {
    let files = RunFiles::here();
    let known: Known = load(&files.known()).ok_or(io::ErrorKind::NotFound)?;
    let news = News::listen(&files)?;
    // Not its session's terminal: no key pressed there ends this program.
    let flags = OFlags::NOCTTY.bits().cast_signed();
    let file = File::options().read(true).write(true).custom_flags(flags).open(format!("/dev/{name}"))?;
    let terminal = Terminal::hide(file, Keys::Plain)?;
    let attempt = Attempt { files: &files, known: &known, news: &news, place: name };
    loop {
        let pause = match terminal.ask(&asked(&known, name), &news)? {
            Answer::Line(line) if line.text().is_empty() => continue,
            Answer::Line(line) => {
                let outcome = attempt.run(line.text(), &mut |text| terminal.say(text));
                drop(line);
                terminal.say(&describe(&outcome, &known));
                match outcome {
                    Outcome::Opened(_) | Outcome::OpenedElsewhere(_) => return Ok(()),
                    Outcome::Wrong(_) => continue,
                    Outcome::Later(_) | Outcome::Impossible(_) => PAUSE,
                }
            }
            Answer::Odd(why) => {
                terminal.say(&format!("{why}; type it again"));
                continue;
            }
            Answer::End => PAUSE,
            Answer::Opened(opened) => {
                terminal.say(&format!("\n{}", already_open(&opened)));
                return Ok(());
            }
        };
        if let Event::Opened(opened) = news.wait(None, Some(uptime() + pause))? {
            terminal.say(&already_open(&opened));
            return Ok(());
        }
    }
}
