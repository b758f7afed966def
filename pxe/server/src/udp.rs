//! UDP sockets that know the address a datagram was sent to, and answer from it.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;

use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, cmsg_space, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use crate::interface::Link;

/// Room for datagrams that were not read yet, in bytes with the kernel's own.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Room for datagrams that were not sent yet: those to an address that nobody has stay there for seconds.
const SEND_BUFFER: usize = 1 << 20;

/// A datagram's length and addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) length: usize,
    /// Whether it was longer than the buffer, and its end is lost.
    pub(crate) is_cut: bool,
    pub(crate) source: SocketAddrV4,
    /// Our address that was meant; the interface's primary one for a broadcast.
    pub(crate) local: Ipv4Addr,
}

/// A socket on one interface.
#[derive(Debug)]
pub(crate) struct UdpPort {
    socket: UdpSocket,
    link: Link,
}

impl UdpPort {
    /// Binds a port on an interface. Without SO_REUSEADDR: a port that another program holds must
    /// be seen.
    pub(crate) fn bind(link: &Link, port: u16) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.bind_device(Some(link.name.as_bytes()))?;
        socket.set_broadcast(true)?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        // A rack that is switched on at once. Without CAP_NET_ADMIN the kernel gives what net.core.rmem_max allows.
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
        }
        // What the kernel gives is enough for all but a flood.
        let _ = setsockopt(&socket, sockopt::SndBufForce, &SEND_BUFFER);
        socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())?;
        Ok(Self { socket: UdpSocket::from_std(socket.into())?, link: link.clone() })
    }

    /// Its interface.
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    /// Its socket, for sends of another form.
    pub(crate) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// What makes a datagram leave through this interface, from one of our addresses.
    pub(crate) fn packet_info(&self, local: Ipv4Addr) -> libc::in_pktinfo {
        libc::in_pktinfo {
            // Indexes are small; 0 would leave the choice to the routes.
            ipi_ifindex: libc::c_int::try_from(self.link.index).unwrap_or(0),
            ipi_spec_dst: libc::in_addr { s_addr: u32::from(local).to_be() },
            ipi_addr: libc::in_addr { s_addr: 0 },
        }
    }

    /// Waits for a datagram.
    pub(crate) async fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        self.socket.async_io(Interest::READABLE, || self.try_receive(buffer)).await
    }

    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut control = vec![0; cmsg_space::<libc::in_pktinfo>()];
        let mut parts = [IoSliceMut::new(buffer)];
        let descriptor = self.socket.as_raw_fd();
        let message = recvmsg::<SockaddrIn>(descriptor, &mut parts, Some(&mut control), MsgFlags::empty())?;
        let source = message.address.ok_or(io::ErrorKind::InvalidData)?;
        let info = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(info),
            _ => None,
        });
        // ipi_addr is what the header says, ipi_spec_dst our own address: equal for unicast only.
        let local = info
            .filter(|info| info.ipi_addr.s_addr == info.ipi_spec_dst.s_addr)
            .map_or(self.link.address, |info| Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)));
        Ok(Received {
            length: message.bytes,
            is_cut: message.flags.contains(MsgFlags::MSG_TRUNC),
            source: SocketAddrV4::new(source.ip(), source.port()),
            local,
        })
    }

    /// Sends a datagram from this port and one of our addresses, out of this interface. It never waits: whoever reads
    /// this port would wait with it, and forged senders could keep it from all others.
    pub(crate) fn send(&self, payload: &[u8], local: Ipv4Addr, destination: SocketAddrV4) -> io::Result<()> {
        let info = self.packet_info(local);
        let parts = [IoSlice::new(payload)];
        let control = [ControlMessage::Ipv4PacketInfo(&info)];
        let destination = SockaddrIn::from(destination);
        let descriptor = self.socket.as_raw_fd();
        sendmsg(descriptor, &parts, &control, MsgFlags::MSG_DONTWAIT, Some(&destination))?;
        Ok(())
    }
}

/// A socket for one TFTP transfer: its own port, connected, so that only this client is heard.
pub(crate) fn connected(link: &Link, local: Ipv4Addr, client: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(link.name.as_bytes()))?;
    socket.bind(&SocketAddrV4::new(local, 0).into())?;
    socket.connect(&client.into())?;
    UdpSocket::from_std(socket.into())
}
