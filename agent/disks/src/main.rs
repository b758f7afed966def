//! `meadow-disks`: carries out one request about this computer's disks, read from the standard input and answered on the
//! standard output, which systemd makes the two ends of a connection to `/run/meadow/disks.sock`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use meadow_disks::{NetworkHere, ThisComputer, serve};
use rustix::fs::{FlockOperation, flock};
use tracing_subscriber::EnvFilter;

const FOLDER: &str = "/run/meadow-disks";

/// How often a lock that another process has is tried.
const TRY_EVERY: Duration = Duration::from_millis(100);

/// One change at a time: the lock goes with the process, however that ends. `None` where it is not free within `patience`.
fn lock(patience: Duration) -> io::Result<Option<File>> {
    fs::create_dir_all(FOLDER)?;
    let path = Path::new(FOLDER).join("lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let until = Instant::now() + patience;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => thread::sleep(TRY_EVERY),
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).without_time().init();
    // Not through the standard library's buffers, which nobody wipes.
    let (input, output) = (io::stdin().as_fd().try_clone_to_owned(), io::stdout().as_fd().try_clone_to_owned());
    let (Ok(mut input), Ok(mut output)) = (input.map(File::from), output.map(File::from)) else {
        tracing::error!("no connection was passed; this is started by meadow-disks.socket");
        return ExitCode::FAILURE;
    };
    if serve(&ThisComputer, &NetworkHere, &mut input, &mut output, lock) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
