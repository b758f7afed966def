//! A TUN device: IP packets of the kernel on a file descriptor.

use std::ffi::c_char;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use gotatun::packet::{Ip, Packet, PacketBufPool};
use gotatun::tun::{IpRecv, IpSend, MtuWatcher};
use rustix::fs::{Mode, OFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How long to leave an interface alone that was set down: reading from it fails at once until it is up again.
const DOWN_PAUSE: Duration = Duration::from_millis(200);

/// One TUN device; clones share it, and the interface goes with the last of them.
#[derive(Clone)]
pub(super) struct Tun {
    fd: Arc<AsyncFd<OwnedFd>>,
    mtu: MtuWatcher,
}

impl Tun {
    /// Makes the interface. It disappears with the process, however that ends.
    pub(super) fn open(interface: &str, mtu: MtuWatcher) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::open("/dev/net/tun", flags, Mode::empty())?;
        attach(&fd, interface)?;
        // SAFETY: an `OwnedFd` always tells the same descriptor, and it is closed only when the `AsyncFd` drops it.
        let fd = unsafe { AsyncFd::register(fd)? };
        Ok(Self { fd: Arc::new(fd), mtu })
    }
}

/// Binds the descriptor to an interface that hands over bare IP packets.
fn attach(fd: &OwnedFd, interface: &str) -> io::Result<()> {
    let name = interface.as_bytes();
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an interface's name has 1 to 15 bytes"));
    }
    // SAFETY: `ifreq` is a plain C structure of integers and arrays, for which all bytes zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = c_char::from_ne_bytes([*from]);
    }
    // IFF_TUN_EXCL: never join a device that another process left persistent.
    let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_TUN_EXCL;
    // The field is a C short whose top bit is a flag too.
    request.ifr_ifru.ifru_flags = (flags & 0xffff) as u16 as libc::c_short;
    // SAFETY: the descriptor is open, TUNSETIFF reads and writes one `ifreq`, and `request` lives through the call.
    if unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Whether the interface itself is gone, so that trying again is of no use.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBADF | libc::EBADFD | libc::ENODEV))
}

impl IpSend for Tun {
    async fn send(&mut self, packet: Packet<Ip>) -> io::Result<()> {
        let bytes = packet.into_bytes();
        match self.fd.async_io(Interest::WRITABLE, |fd| Ok(rustix::io::write(fd, &bytes)?)).await {
            Err(error) if is_gone(&error) => Err(error),
            // A packet that the kernel refuses (interface down, malformed) is lost like any other on a network; an
            // error here would end the whole device.
            _ => Ok(()),
        }
    }
}

impl IpRecv for Tun {
    async fn recv<'a>(
        &'a mut self,
        pool: &mut PacketBufPool,
    ) -> io::Result<impl Iterator<Item = Packet<Ip>> + Send + 'a> {
        loop {
            let mut packet = pool.get();
            match self.fd.async_io(Interest::READABLE, |fd| Ok(rustix::io::read(fd, &mut packet[..])?)).await {
                Ok(length) => {
                    packet.truncate(length);
                    if let Ok(packet) = packet.try_into_ip() {
                        return Ok(std::iter::once(packet));
                    }
                }
                Err(error) if is_gone(&error) => return Err(error),
                Err(_) => tokio::time::sleep(DOWN_PAUSE).await,
            }
        }
    }

    fn mtu(&self) -> MtuWatcher {
        self.mtu.clone()
    }
}
