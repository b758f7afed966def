//! The far end of a pseudo-terminal, with an emulator behind it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// Far longer than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Pty {
    master: File,
    path: PathBuf,
    terminal: vt100::Parser,
}

impl Pty {
    pub(crate) fn open() -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo-terminal");
        grantpt(&master).expect("granted");
        unlockpt(&master).expect("unlocked");
        let name = ptsname(&master, Vec::new()).expect("named").into_string().expect("UTF-8");
        Self { master: master.into(), path: name.into(), terminal: vt100::Parser::default() }
    }

    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Reads until the screen is as wanted.
    pub(crate) fn wait_for(&mut self, wanted: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !wanted(&self.terminal.screen().contents()) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the screen is still:\n{}", self.terminal.screen().contents());
            let wait = Timespec { tv_sec: 1, tv_nsec: 0 };
            let fd = self.master.as_fd();
            if poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&wait)).expect("polled") > 0 {
                let mut buffer = [0; 4096];
                let count = self.master.read(&mut buffer).expect("the console is still there");
                self.terminal.process(&buffer[..count]);
            }
        }
    }

    /// Empties the emulator, as if it had just been attached.
    pub(crate) fn forget(&mut self) {
        self.terminal = vt100::Parser::default();
    }

    pub(crate) fn press(&mut self, keys: &[u8]) {
        self.master.write_all(keys).expect("typed");
    }
}
