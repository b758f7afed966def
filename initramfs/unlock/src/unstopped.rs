//! What must not stop half way when somebody hangs up or presses Ctrl-C.

use std::io;

use nix::sys::signal::{SigSet, Signal};

/// While it lives, this thread takes none of the signals by which a terminal or a connection ends its programs.
pub(crate) struct Unstopped(SigSet);

impl Unstopped {
    pub(crate) fn begin() -> io::Result<Self> {
        let stops = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGTSTP];
        let stops: SigSet = stops.into_iter().collect();
        stops.thread_block()?;
        Ok(Self(stops))
    }
}

impl Drop for Unstopped {
    fn drop(&mut self) {
        // What is left blocked ends with the session.
        let _ = self.0.thread_unblock();
    }
}
