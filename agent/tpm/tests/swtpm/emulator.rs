//! swtpm(8), which nobody here wrote, at the other end of a socket.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use meadow_tpm::Tpm;
use rustix::io::{FdFlags, fcntl_setfd};

/// A computer with a TPM: it restarts, and its TPM may be cleared.
pub(crate) struct Emulator {
    folder: tempfile::TempDir,
    running: Option<(Child, UnixStream)>,
    heard: Arc<Mutex<Vec<u8>>>,
}

/// What somebody on the bus does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bus {
    /// Listens.
    Quiet,
    /// Turns a bit of the answer with this number, counted from 0.
    Turn(usize),
}

impl Emulator {
    pub(crate) fn new() -> Self {
        let mut made = Self { folder: tempfile::tempdir().unwrap(), running: None, heard: Arc::default() };
        made.restart();
        made
    }

    /// Power off and on: what was measured is gone, what was sealed is not.
    pub(crate) fn restart(&mut self) {
        if let Some((mut child, stream)) = self.running.take() {
            drop(stream);
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        fcntl_setfd(&theirs, FdFlags::empty()).unwrap();
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--fd"])
            .arg(theirs.as_raw_fd().to_string())
            .arg("--tpmstate")
            .arg(format!("dir={}", self.folder.path().display()))
            .stdin(Stdio::null())
            .spawn()
            .expect("swtpm; see tests/packages/test.list");
        self.running = Some((child, ours));
    }

    /// A connection; the tests end one before they begin the next.
    pub(crate) fn connect(&self) -> Tpm {
        self.connect_by(Bus::Quiet)
    }

    pub(crate) fn connect_by(&self, bus: Bus) -> Tpm {
        let stream = self.running.as_ref().unwrap().1.try_clone().unwrap();
        Tpm::over(Tapped { stream, bus, answers: 0, heard: Arc::clone(&self.heard) })
    }

    /// Whether these bytes were on the bus.
    pub(crate) fn was_heard(&self, secret: &[u8]) -> bool {
        self.heard.lock().unwrap().windows(secret.len()).any(|window| window == secret)
    }

    /// Clears it, as its owner does in a firmware's setup.
    pub(crate) fn clear(&self) {
        let mut stream = self.running.as_ref().unwrap().1.try_clone().unwrap();
        // TPM2_Clear, authorised by the lockout hierarchy, whose value is empty.
        let command =
            data_encoding::HEXLOWER.decode(b"80020000001b000001264000000a00000009400000090000000000").unwrap();
        stream.write_all(&command).unwrap();
        let mut answer = [0; 19];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer[6..10], [0; 4]);
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// A tap on the bus.
struct Tapped {
    stream: UnixStream,
    bus: Bus,
    answers: usize,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Read for Tapped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.stream.read(buffer)?;
        if self.bus == Bus::Turn(self.answers) {
            // Behind header and parameter size, in what was encrypted.
            buffer[20.min(got - 1)] ^= 1;
        }
        self.answers += 1;
        self.heard.lock().unwrap().extend_from_slice(&buffer[..got]);
        Ok(got)
    }
}

impl Write for Tapped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.heard.lock().unwrap().extend_from_slice(bytes);
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// A key that signs images, made by openssl(1).
pub(crate) struct Signer(tempfile::TempDir);

impl Signer {
    pub(crate) fn new() -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        let key = made.0.path().join("key.pem");
        openssl(&["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out"], &key);
        made
    }

    fn key(&self) -> std::path::PathBuf {
        self.0.path().join("key.pem")
    }

    pub(crate) fn public(&self) -> Vec<u8> {
        let file = self.0.path().join("public.pem");
        openssl(&["pkey", "-pubout", "-in", self.key().to_str().unwrap(), "-out"], &file);
        fs::read(file).unwrap()
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let (file, signature) = (self.0.path().join("message"), self.0.path().join("signature"));
        fs::write(&file, message).unwrap();
        let arguments = ["dgst", "-sha256", "-sign", self.key().to_str().unwrap(), "-out", signature.to_str().unwrap()]
            .map(str::to_owned);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        openssl(&arguments, &file);
        fs::read(signature).unwrap()
    }
}

fn openssl(arguments: &[&str], last: &Path) {
    let mut command = Command::new("openssl");
    let output = command.args(arguments).arg(last).stdin(Stdio::null()).output().expect("openssl");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
