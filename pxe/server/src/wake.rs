//! Sends magic packets.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use meadow_model::MacAddress;
use meadow_netboot::wake::{PORT, magic_packet};
use socket2::{Domain, Protocol, Socket, Type};

use crate::interface::Link;

/// Nobody acknowledges one, and a switch whose port has just come up loses the first.
const COPIES: usize = 3;

/// Wakes the machine with this card, if it is on the interface's LAN and its firmware lets it be woken.
pub(crate) fn send(link: &Link, mac: MacAddress) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind_device(Some(link.name.as_bytes()))?;
    socket.set_broadcast(true)?;
    socket.bind(&SocketAddrV4::new(link.address, 0).into())?;
    let everybody = SocketAddrV4::new(Ipv4Addr::BROADCAST, PORT).into();
    for _ in 0..COPIES {
        socket.send_to(&magic_packet(mac), &everybody)?;
    }
    Ok(())
}
