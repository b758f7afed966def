//! Captures the packets of one machine, for a bug report.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use meadow_model::MacAddress;
use meadow_netboot::pcap;
use nix::libc;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::interface::Link;
use crate::supervisor::PAUSE_AFTER_ERROR;

/// Bytes of one capture; a boot without its big files has far fewer.
const MAX_BYTES: usize = 8 << 20;
/// Captures that run at a time. One that is done is kept until the next one begins.
const MAX_CAPTURES: usize = 4;

/// How long a capture runs that nobody reads. Who ends `meadow pxe capture`, in whatever way, blocks the others no longer.
const UNREAD: Duration = Duration::from_secs(30);

/// The captures of a boot server, one a machine.
#[derive(Debug, Default)]
pub(crate) struct Captures(Mutex<HashMap<MacAddress, Arc<Capture>>>);

/// A part of a capture file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturePart {
    /// Its bytes, from where the caller asked.
    pub bytes: Vec<u8>,
    /// Whether nothing comes behind it.
    pub done: bool,
    /// The machine's address in a network behind a router, whose packets are captured too; `None` where it has none.
    pub address: Option<Ipv4Addr>,
}

/// Why nothing is captured.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// No interface is there.
    #[error("{0}; nothing can be captured there")]
    Interface(String),
    /// Too many captures run.
    #[error("{MAX_CAPTURES} captures run already; wait until one has ended")]
    Busy,
    /// The kernel refused.
    #[error("packets cannot be captured: {0}; the agent needs CAP_NET_RAW")]
    System(#[from] io::Error),
}

#[derive(Debug)]
struct Capture {
    mac: MacAddress,
    /// Where it runs.
    links: Vec<Link>,
    /// The machine's address behind a router, where packets do not show its card.
    address: Mutex<Option<Ipv4Addr>>,
    file: Mutex<Vec<u8>>,
    done: AtomicBool,
    read: Notify,
}

impl Captures {
    /// Begins to capture what this machine and the server say, in place of an earlier capture of it.
    pub(crate) fn start(&self, links: Vec<Link>, mac: MacAddress, lasts: Duration) -> Result<(), CaptureError> {
        let mut captures = locked(&self.0);
        let running = captures.iter().filter(|(other, capture)| **other != mac && !capture.is_done()).count();
        if running >= MAX_CAPTURES {
            return Err(CaptureError::Busy);
        }
        let sockets = links.iter().map(open).collect::<io::Result<Vec<_>>>()?;
        let capture = Arc::new(Capture::new(mac, links));
        // Of an earlier one nobody else knows: its task ends with it.
        if let Some(before) = captures.insert(mac, Arc::clone(&capture)) {
            before.end();
        }
        // Whoever begins another one has what was done before.
        captures.retain(|_, capture| !capture.is_done());
        tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            for socket in sockets {
                tasks.spawn(Arc::clone(&capture).fill(socket));
            }
            // It ends by its time, or as soon as it is full, another one took its place or nobody reads it.
            tokio::select! {
                _ = tokio::time::timeout(lasts, tasks.join_next()) => {}
                () = capture.unread_for(UNREAD) => {}
            }
            capture.end();
        });
        Ok(())
    }

    /// What was captured of a machine from byte `from` on; `None` where nobody began. `address` is the machine's, as far
    /// as it is known otherwise than by what was captured.
    pub(crate) fn read(&self, mac: MacAddress, from: usize, address: Option<Ipv4Addr>) -> Option<CapturePart> {
        let capture = locked(&self.0).get(&mac).map(Arc::clone)?;
        capture.read.notify_one();
        if let Some(address) = address {
            capture.follow(address);
        }
        // Looked at first: what comes until the file is read is in that part then.
        let done = capture.is_done();
        let bytes = locked(&capture.file).get(from..).map(<[u8]>::to_vec).unwrap_or_default();
        Some(CapturePart { bytes, done, address: *locked(&capture.address) })
    }
}

impl Capture {
    fn new(mac: MacAddress, links: Vec<Link>) -> Self {
        let file = Mutex::new(pcap::header().to_vec());
        Self { mac, links, address: Mutex::default(), file, done: AtomicBool::new(false), read: Notify::new() }
    }

    /// The machine has this address now. On our links its card is seen, and an address may be another one's by now.
    fn follow(&self, address: Ipv4Addr) {
        *locked(&self.address) = Some(address).filter(|address| !self.links.iter().any(|link| link.has(*address)));
    }

    /// Whether a frame is the machine's: by its card, or behind a router by its address.
    fn takes(&self, frame: &[u8]) -> bool {
        if let Some(address) = pcap::own_address(frame, self.mac) {
            self.follow(address);
        }
        pcap::concerns(frame, self.mac)
            || locked(&self.address).is_some_and(|address| pcap::has_address(frame, address))
    }

    fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    fn end(&self) {
        self.done.store(true, Ordering::Release);
    }

    /// Returns when it was not read for so long.
    async fn unread_for(&self, patience: Duration) {
        while tokio::time::timeout(patience, self.read.notified()).await.is_ok() {}
    }

    async fn fill(self: Arc<Self>, socket: AsyncFd<Socket>) {
        let mut buffer = [MaybeUninit::uninit(); pcap::SNAP_LENGTH as usize];
        loop {
            let received = socket.async_io(Interest::READABLE, |socket| socket.recv(&mut buffer)).await;
            let Ok(length) = received else {
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                continue;
            };
            // SAFETY: `recv` has written that many bytes.
            let frame = unsafe { &*(&raw const buffer[..length] as *const [u8]) };
            if !self.takes(frame) {
                continue;
            }
            let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let record = pcap::record(time, frame);
            let mut file = locked(&self.file);
            if self.is_done() || file.len() + record.len() > MAX_BYTES {
                return;
            }
            file.extend_from_slice(&record);
        }
    }
}

/// A packet socket of one interface: what comes in and goes out.
fn open(link: &Link) -> io::Result<AsyncFd<Socket>> {
    let everything = u16::try_from(libc::ETH_P_ALL).unwrap_or(0).to_be();
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(everything))))?;
    socket.set_nonblocking(true)?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: a `sockaddr_ll` fits the storage (packet(7)), which is zeroed, and is plain data.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or(0);
    address.sll_protocol = everything;
    address.sll_ifindex = i32::try_from(link.index).map_err(io::Error::other)?;
    let length = u32::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: the storage holds a `sockaddr_ll` of that length.
    let address = unsafe { SockAddr::new(storage, length) };
    socket.bind(&address)?;
    // SAFETY: a `Socket` owns one descriptor, gives the same one at each call and closes it only when it is dropped, after
    // the registration that owns it.
    Ok(unsafe { AsyncFd::register(socket) }?)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_capture_that_nobody_reads_ends_and_one_that_is_read_does_not() {
        let mac = MacAddress([2; 6]);
        let capture = Arc::new(Capture::new(mac, Vec::new()));
        let captures = Captures::default();
        locked(&captures.0).insert(mac, Arc::clone(&capture));
        assert!(captures.read(mac, 0, None).is_some());
        let was_read = tokio::time::timeout(Duration::ZERO, capture.read.notified()).await;
        assert!(was_read.is_ok(), "one that came between two waits is not lost");
        capture.unread_for(Duration::ZERO).await;
    }

    #[test]
    fn an_address_is_followed_into_other_networks_only() {
        let (near, far) = (Ipv4Addr::new(192, 0, 2, 50), Ipv4Addr::new(198, 51, 100, 50));
        let (own, mask) = (Ipv4Addr::new(192, 0, 2, 2), Ipv4Addr::new(255, 255, 255, 0));
        let link = Link { name: "eth0".to_owned(), index: 1, address: own, networks: vec![(own, mask)] };
        let mac = MacAddress([2; 6]);
        let captures = Captures::default();
        locked(&captures.0).insert(mac, Arc::new(Capture::new(mac, vec![link])));
        for (known, followed) in
            [(None, None), (Some(near), None), (Some(far), Some(far)), (None, Some(far)), (Some(near), None)]
        {
            assert_eq!(captures.read(mac, 0, known).expect("a capture").address, followed, "{known:?}");
        }
    }
}
