//! A packet(7) socket that sees only DHCP, on a card that may have no address.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with};

use crate::dhcp::{Destination, Mac, frame};

const BROADCAST: Mac = [0xff; 6];
/// An Ethernet frame without its header.
const LARGEST_PACKET: usize = 1500;

/// The socket of one card.
#[derive(Debug)]
pub(super) struct PacketSocket {
    fd: OwnedFd,
    index: u32,
}

/// A DHCP message as it came.
#[derive(Debug)]
pub(super) struct Received {
    /// Who sent the frame.
    pub(super) from: Mac,
    /// What UDP carried.
    pub(super) payload: Vec<u8>,
}

impl PacketSocket {
    /// A socket on the card with this index.
    ///
    /// # Errors
    /// If the kernel refuses one of the steps.
    pub(super) fn open(index: u32) -> io::Result<Self> {
        // Protocol 0 receives nothing: packets come only once the filter is in place.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, None::<Protocol>)?;
        let mut program = filter();
        let filter = libc::sock_fprog {
            len: u16::try_from(program.len()).map_err(io::Error::other)?,
            filter: program.as_mut_ptr(),
        };
        set_option(&fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)?;
        set_option(&fd, libc::SOL_PACKET, libc::PACKET_AUXDATA, &1_i32)?;
        let socket = Self { fd, index };
        let address = socket.address(BROADCAST);
        // SAFETY: `address` is a sockaddr_ll and lives through the call; the length is its own.
        check(unsafe { libc::bind(socket.fd.as_raw_fd(), (&raw const address).cast(), length_of(&address)) })?;
        Ok(socket)
    }

    /// Sends a DHCP message.
    ///
    /// # Errors
    /// For example `ENETDOWN` after the card was switched off.
    pub(super) fn send(&self, destination: Destination, message: &[u8]) -> io::Result<()> {
        let (source, target, mac) = match destination {
            Destination::Broadcast => (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, BROADCAST),
            Destination::BroadcastFrom(own) => (own, Ipv4Addr::BROADCAST, BROADCAST),
            Destination::Server { from, to, mac } => (from, to, mac),
        };
        let packet = frame::encapsulate(source, target, message);
        let address = self.address(mac);
        // SAFETY: packet and address live through the call, with their own lengths.
        let sent = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                (&raw const address).cast(),
                length_of(&address),
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The next DHCP message from a server, if one has come; whatever else came is dropped.
    ///
    /// # Errors
    /// For example `ENETDOWN` after the card was switched off.
    pub(super) fn receive(&self) -> io::Result<Option<Received>> {
        let mut buffer = [0_u8; LARGEST_PACKET];
        loop {
            match self.receive_packet(&mut buffer) {
                Ok((count, from, checksum_ready)) => {
                    let packet = buffer.get(..count).unwrap_or_default();
                    if let Some(payload) = frame::decapsulate(packet, checksum_ready) {
                        return Ok(Some(Received { from, payload: payload.to_vec() }));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    fn receive_packet(&self, buffer: &mut [u8]) -> io::Result<(usize, Mac, bool)> {
        let mut address = self.address(BROADCAST);
        // u64s, since control messages must be aligned.
        let mut control = [0_u64; 16];
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        // SAFETY: all fields of msghdr are integers and pointers, for which zero is valid.
        let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        header.msg_name = (&raw mut address).cast();
        header.msg_namelen = length_of(&address);
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = mem::size_of_val(&control);
        // SAFETY: every pointer in `header` is to a live buffer with the length beside it.
        let count = unsafe { libc::recvmsg(self.fd.as_raw_fd(), &raw mut header, 0) };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        let mut from = [0; 6];
        from.copy_from_slice(&address.sll_addr[..6]);
        Ok((count, from, checksum_ready(&header)))
    }

    fn address(&self, mac: Mac) -> libc::sockaddr_ll {
        let mut bytes = [0; 8];
        bytes[..6].copy_from_slice(&mac);
        libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: (libc::ETH_P_IP as u16).to_be(),
            sll_ifindex: self.index.cast_signed(),
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: bytes,
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether the UDP checksum is on the packet already: a sender on the same host leaves it to a
/// network card that does not exist.
fn checksum_ready(header: &libc::msghdr) -> bool {
    // SAFETY: `header` was filled by recvmsg and its control buffer is alive.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give only headers that lie whole in the buffer.
        let found = unsafe { &*message };
        if found.cmsg_level == libc::SOL_PACKET && found.cmsg_type == libc::PACKET_AUXDATA {
            // SAFETY: the kernel puts a tpacket_auxdata behind a header of this type.
            let data = unsafe { libc::CMSG_DATA(message).cast::<libc::tpacket_auxdata>().read_unaligned() };
            return data.tp_status & libc::TP_STATUS_CSUMNOTREADY == 0;
        }
        // SAFETY: as for the first one.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    true
}

/// Lets only UDP to port 68 that is no later fragment through (a classic BPF program on the IP
/// packet): the rest of a busy network shall not wake us.
fn filter() -> Vec<libc::sock_filter> {
    [
        (0x30, 0, 0, 9),      // load the protocol
        (0x15, 0, 6, 17),     // UDP?
        (0x28, 0, 0, 6),      // load the fragment offset
        (0x45, 4, 0, 0x1fff), // a later fragment?
        (0xb1, 0, 0, 0),      // X = length of the header
        (0x48, 0, 0, 2),      // load the destination port
        (0x15, 0, 1, 68),     // ours?
        (0x06, 0, 0, 0xffff), // take it whole
        (0x06, 0, 0, 0),      // drop it
    ]
    .into_iter()
    .map(|(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k })
    .collect()
}

fn set_option<T>(fd: &OwnedFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    // SAFETY: the pointer is to a live `T` of that length, which is what the option takes.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, std::ptr::from_ref(value).cast(), length_of(value)) })
}

fn length_of<T>(_: &T) -> libc::socklen_t {
    // Only small structures of the kernel's interface come here.
    mem::size_of::<T>() as libc::socklen_t
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
