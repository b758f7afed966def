//! Asks on every console, and waits until somebody, somewhere, opened the state.

use std::fs;
use std::mem::MaybeUninit;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use rustix::fs::inotify;
use serde::Deserialize;

use super::PROGRAM;
use super::volume::MAPPED;
use crate::boot_log::BootLog;
use crate::children::Children;
use crate::system::RUN_DIR;

/// Written by `/sbin/unlock` as its last act.
const NEWS: &str = "/run/meadow/unlocked.json";
/// A prompt that crashed comes back after this.
const PAUSE: Duration = Duration::from_secs(5);

/// How the state was opened.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Opened {
    /// `passphrase`, `recovery`, …
    pub kind: String,
    /// Number of the key slot.
    pub slot: u32,
    /// `ssh`, or the terminal.
    pub place: String,
}

/// How it was opened, once it is.
#[must_use]
pub fn opened() -> Option<Opened> {
    let news = serde_json::from_slice(&fs::read(NEWS).ok()?).ok()?;
    Path::new(MAPPED).exists().then_some(news)
}

/// Prompts on these terminals and waits for ever.
///
/// # Errors
/// If the kernel cannot tell of the news.
pub fn ask(terminals: &[String], children: &Arc<Children>, log: &Arc<BootLog>) -> anyhow::Result<Opened> {
    // Watch first: what happens after the first look is told.
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).context("cannot watch for the state's opening")?;
    inotify::add_watch(&watch, RUN_DIR, inotify::WatchFlags::MOVED_TO)
        .with_context(|| format!("cannot watch {RUN_DIR}"))?;
    for terminal in terminals {
        let (terminal, children, prompt_log) = (terminal.clone(), Arc::clone(children), Arc::clone(log));
        let prompt = move || keep_prompting(&terminal, &children, &prompt_log);
        if let Err(error) = thread::Builder::new().name("prompt".to_owned()).spawn(prompt) {
            log.say(&format!("a console has no prompt: {error}"));
        }
    }
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut news = inotify::Reader::new(&watch, &mut buffer);
    loop {
        if let Some(opened) = opened() {
            return Ok(opened);
        }
        // Interrupted or not, look again.
        let _ = news.next();
    }
}

/// A prompt on one terminal, again if it crashes.
fn keep_prompting(terminal: &str, children: &Children, log: &BootLog) {
    let mut said = false;
    while opened().is_none() && !children.is_closed() {
        let mut command = Command::new(PROGRAM);
        command.args(["console", terminal]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let ended = children.spawn(&mut command).map(|(pid, _child)| children.wait(pid));
        if opened().is_some() || children.is_closed() {
            return;
        }
        if !said {
            said = true;
            log.say(&format!("the prompt on {terminal} ended ({ended:?}); it comes back, and SSH works meanwhile"));
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_news_of_the_other_program() {
        let news: Opened = serde_json::from_str(r#"{"kind":"passphrase","slot":1,"place":"ssh"}"#).unwrap();
        assert_eq!((news.kind.as_str(), news.slot, news.place.as_str()), ("passphrase", 1, "ssh"));
    }
}
