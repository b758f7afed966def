//! Waits for input, for a time, or for somebody else who opens the state, whichever comes first.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::io::Errno;

use crate::run_files::{Opened, RunFiles, load, uptime};

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The state is open.
    Opened(Opened),
    /// There is something to read.
    Input,
    /// The time is over.
    Time,
}

/// Hears when the state is opened.
#[derive(Debug)]
pub struct News {
    files: RunFiles,
    watch: OwnedFd,
}

impl News {
    /// Listens from now on.
    ///
    /// # Errors
    /// If the kernel cannot tell.
    pub fn listen(files: &RunFiles) -> io::Result<Self> {
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        inotify::add_watch(&watch, files.folder(), inotify::WatchFlags::MOVED_TO)?;
        Ok(Self { files: files.clone(), watch })
    }

    /// Waits for input on `input` where there is one, until `end` where there is one (a time since the kernel started).
    ///
    /// # Errors
    /// If the kernel cannot wait.
    pub fn wait(&self, input: Option<&dyn AsFd>, end: Option<Duration>) -> io::Result<Event> {
        loop {
            if let Some(opened) = opened(&self.files) {
                return Ok(Event::Opened(opened));
            }
            let left = end.map(|end| end.saturating_sub(uptime()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Event::Time);
            }
            let timeout =
                left.map(|left| Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() });
            let mut descriptors = vec![PollFd::new(&self.watch, PollFlags::IN)];
            let borrowed = input.map(AsFd::as_fd);
            descriptors.extend(borrowed.iter().map(|input| PollFd::new(input, PollFlags::IN)));
            match poll(&mut descriptors, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            // A terminal that hung up is told by the read.
            let ready = descriptors.get(1).is_some_and(|input| !input.revents().is_empty());
            self.drain();
            if ready && opened(&self.files).is_none() {
                return Ok(Event::Input);
            }
        }
    }

    fn drain(&self) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.watch, &mut buffer);
        while events.next().is_ok() {}
    }
}

/// How the state was opened, once it is.
#[must_use]
pub fn opened(files: &RunFiles) -> Option<Opened> {
    load(&files.opened())
}

/// For the ones who come late.
#[must_use]
pub fn already_open(opened: &Opened) -> String {
    format!("the state is open already (by {}); this machine goes on booting", opened.place)
}

/// Whether the volume is mapped.
#[must_use]
pub fn is_mapped() -> bool {
    Path::new("/dev/mapper").join(meadow_luks::MAPPING).exists()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use meadow_model::install::KeyKind;

    use super::*;
    use crate::run_files::store;

    #[test]
    fn input_time_and_opening_end_a_wait() {
        let folder = tempfile::tempdir().unwrap();
        let files = RunFiles::within(folder.path());
        let news = News::listen(&files).unwrap();
        assert_eq!(news.wait(None, Some(uptime())).unwrap(), Event::Time);
        let (reader, mut writer) = io::pipe().unwrap();
        io::Write::write_all(&mut writer, b"x").unwrap();
        assert_eq!(news.wait(Some(&reader), None).unwrap(), Event::Input);
        let by_ssh = Opened { kind: KeyKind::Recovery, slot: 3, place: "ssh".to_owned() };
        let (path, there) = (files.opened(), by_ssh.clone());
        let other = thread::spawn(move || store(&path, &there).unwrap());
        assert_eq!(news.wait(None, Some(uptime() + Duration::from_secs(60))).unwrap(), Event::Opened(by_ssh));
        other.join().unwrap();
    }
}
