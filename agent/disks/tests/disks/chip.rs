//! A TPM 2.0: swtpm(8) at the other end of a socket.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use meadow_tpm::Tpm;
use rustix::io::{FdFlags, fcntl_setfd};

/// The TPM, switched on; its power goes with the value.
pub(crate) struct Chip {
    folder: tempfile::TempDir,
    child: Child,
    stream: UnixStream,
}

impl Chip {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (child, stream) = start(&folder);
        Self { folder, child, stream }
    }

    /// What was measured is gone, what was sealed is not.
    pub(crate) fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        (self.child, self.stream) = start(&self.folder);
    }

    pub(crate) fn connect(&self) -> Tpm {
        Tpm::over(self.stream.try_clone().unwrap())
    }
}

fn start(folder: &tempfile::TempDir) -> (Child, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    fcntl_setfd(&theirs, FdFlags::empty()).unwrap();
    let child = Command::new("swtpm")
        .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--fd"])
        .arg(theirs.as_raw_fd().to_string())
        .arg("--tpmstate")
        .arg(format!("dir={}", folder.path().display()))
        .stdin(Stdio::null())
        .spawn()
        .expect("swtpm; see tests/packages/test.list");
    (child, ours)
}

impl Drop for Chip {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
