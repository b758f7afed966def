//! The terminal device: raw mode, size, keys.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;

use rustix::fs::OFlags;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;
use zeroize::Zeroize;

use crate::keys::{Key, keys};

/// What a serial line is taken for, since it cannot tell.
const DEFAULT_SIZE: (u16, u16) = (80, 24);
/// Larger than any terminal; a device that claims more is not believed.
const MAX_SIZE: u16 = 1000;
/// Keys that wait while the agent is asked for something; more than anybody types ahead.
const WAITING: usize = 1024;

/// A terminal in raw mode, restored when this goes.
pub struct Tty {
    device: File,
    before: Termios,
}

impl Tty {
    /// Opens a device such as `/dev/ttyS0`, without making it the controlling terminal.
    ///
    /// # Errors
    /// Where it is not there, not allowed, or no terminal.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::NOCTTY.bits().cast_signed();
        Self::take(OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?)
    }

    /// Takes over the terminal on standard input.
    ///
    /// # Errors
    /// Where standard input is no terminal.
    pub fn stdin() -> io::Result<Self> {
        Self::take(File::from(io::stdin().as_fd().try_clone_to_owned()?))
    }

    fn take(device: File) -> io::Result<Self> {
        let before = tcgetattr(&device)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&device, OptionalActions::Now, &raw)?;
        Ok(Self { device, before })
    }

    /// Columns and rows.
    #[must_use]
    pub fn size(&self) -> (u16, u16) {
        tcgetwinsize(&self.device).map_or(DEFAULT_SIZE, |size| plausible(size.ws_col, size.ws_row))
    }

    /// A handle to write to.
    ///
    /// # Errors
    /// Where the process has no descriptor left.
    pub fn writer(&self) -> io::Result<impl Write + use<>> {
        Ok(io::BufWriter::with_capacity(16 << 10, self.device.try_clone()?))
    }

    /// Tells the keys that are pressed; closed when the terminal hangs up.
    ///
    /// # Errors
    /// Where the process has no descriptor or thread left.
    pub fn keys(&self) -> io::Result<mpsc::Receiver<Key>> {
        let mut device = self.device.try_clone()?;
        let (sender, receiver) = mpsc::channel(WAITING);
        let read = move || {
            let mut buffer = [0; 256];
            // The thread waits in `read` and ends with the process, or when the line hangs up.
            while let Ok(count) = device.read(&mut buffer)
                && count > 0
            {
                for key in keys(buffer.get(..count).unwrap_or_default()) {
                    // A line that is noise must not keep the reader waiting, nor fill the memory.
                    if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(key) {
                        return;
                    }
                }
                buffer.zeroize();
            }
        };
        thread::Builder::new().name("keys".into()).spawn(read)?;
        Ok(receiver)
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = tcsetattr(&self.device, OptionalActions::Now, &self.before);
    }
}

fn plausible(columns: u16, rows: u16) -> (u16, u16) {
    if columns == 0 || rows == 0 { DEFAULT_SIZE } else { (columns.min(MAX_SIZE), rows.min(MAX_SIZE)) }
}

#[cfg(test)]
mod tests {
    use super::plausible;

    #[test]
    fn a_serial_line_that_does_not_know_its_size_gets_the_usual_one() {
        assert_eq!(plausible(0, 0), (80, 24));
        assert_eq!(plausible(200, 0), (80, 24));
        assert_eq!(plausible(200, 50), (200, 50));
        assert_eq!(plausible(u16::MAX, 1), (1000, 1));
    }
}
