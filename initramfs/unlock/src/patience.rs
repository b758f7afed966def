//! Input of somebody who may have gone away without a word.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::run_files::uptime;

/// Longer nobody is waited for who sends nothing.
const SILENCE: Duration = Duration::from_secs(30);
/// Nor for what comes drop by drop: 16 MiB take as long on 200 kbit/s.
const ALL: Duration = Duration::from_secs(12 * 60);

/// Reads with patience that ends: PID 1 goes on booting after that.
#[derive(Debug)]
pub(crate) struct Patient {
    input: File,
    silence: Duration,
    end: Duration,
}

impl Patient {
    pub(crate) fn new(input: File) -> Self {
        Self::within(input, SILENCE, ALL)
    }

    fn within(input: File, silence: Duration, all: Duration) -> Self {
        Self { input, silence, end: uptime() + all }
    }

    fn wait(&self) -> io::Result<()> {
        let left = self.end.saturating_sub(uptime()).min(self.silence);
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&self.input, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => Err(io::Error::new(ErrorKind::TimedOut, "it came too slowly, or not at all")),
            // An interrupted wait is told to the caller, who tries again.
            Ok(_) => Ok(()),
            Err(Errno::INTR) => Err(ErrorKind::Interrupted.into()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait()?;
        self.input.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn what_comes_is_read_and_what_does_not_come_ends_the_wait() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut patient = Patient::within(OwnedFd::from(reader).into(), Duration::ZERO, ALL);
        assert_eq!(patient.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
        writer.write_all(b"header").unwrap();
        let mut bytes = [0; 8];
        assert_eq!(patient.read(&mut bytes).unwrap(), 6);
        patient.end = uptime();
        patient.silence = SILENCE;
        assert_eq!(patient.read(&mut bytes).unwrap_err().kind(), ErrorKind::TimedOut);
        drop(writer);
        patient.end = uptime() + ALL;
        assert_eq!(patient.read(&mut bytes).unwrap(), 0);
    }
}
