//! A terminal that does not show what is typed.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::termios::{InputModes, LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr};

use crate::line::{self, Line, NoLine};
use crate::news::{Event, News};
use crate::run_files::Opened;

/// What came of a prompt.
pub enum Answer {
    /// A line.
    Line(Line),
    /// Nothing that could be a key; the text says why.
    Odd(&'static str),
    /// Whoever was there hung up, or pressed Ctrl-D.
    End,
    /// The state was opened elsewhere.
    Opened(Opened),
}

/// A terminal without echo, until it is dropped.
#[derive(Debug)]
pub struct Terminal {
    file: File,
    before: Termios,
}

/// Whether Ctrl-C ends the program: at a login it does, on a console it must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// As usual.
    Usual,
    /// They are letters like others.
    Plain,
}

impl Terminal {
    /// Switches the echo off.
    ///
    /// # Errors
    /// If it is no terminal.
    pub fn hide(file: File, keys: Keys) -> io::Result<Self> {
        let before = tcgetattr(&file)?;
        let mut modes = before.clone();
        modes.local_modes.remove(LocalModes::ECHO | LocalModes::ECHOE | LocalModes::ECHOK);
        // The line end shows, so that the next message begins on a line of its own.
        modes.local_modes.insert(LocalModes::ICANON | LocalModes::ECHONL);
        modes.local_modes.set(LocalModes::ISIG, keys == Keys::Usual);
        modes.input_modes.insert(InputModes::ICRNL);
        tcsetattr(&file, OptionalActions::Now, &modes)?;
        Ok(Self { file, before })
    }

    /// Shows a line.
    pub fn say(&self, text: &str) {
        // A terminal that hung up is told by the next read.
        let _ = writeln!(&self.file, "{text}");
    }

    /// Asks and waits.
    ///
    /// # Errors
    /// If the terminal fails.
    pub fn ask(&self, prompt: &str, news: &News) -> io::Result<Answer> {
        // What was typed while nobody asked is meant for nobody.
        let _ = tcflush(&self.file, QueueSelector::IFlush);
        write!(&self.file, "{prompt}")?;
        match news.wait(Some(&self.file), None)? {
            Event::Opened(opened) => Ok(Answer::Opened(opened)),
            Event::Input | Event::Time => match line::read(&self.file) {
                Ok(line) => Ok(Answer::Line(line)),
                Err(NoLine::End) => Ok(Answer::End),
                Err(NoLine::TooLong) => Ok(Answer::Odd("that is longer than any passphrase")),
                Err(NoLine::NotText) => Ok(Answer::Odd("that is no text in UTF-8")),
                Err(NoLine::Io(error)) => Err(error),
            },
        }
    }
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may be gone.
        let _ = tcsetattr(&self.file, OptionalActions::Now, &self.before);
    }
}
