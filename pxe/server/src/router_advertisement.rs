//! Answers router solicitations of machines in their PXE stage with "no router here", so that
//! iPXE does not wait for one.

use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use meadow_netboot::icmpv6;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, cmsg_space, recvmsg};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;

use crate::interface::{self, Link};
use crate::restraint::Trouble;
use crate::shared::Shared;
use crate::supervisor::PAUSE_AFTER_ERROR;

const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// Solicitations are shorter; the tail of what is longer does not matter.
const RECEIVE_BUFFER: usize = 1500;

struct Solicitation {
    length: usize,
    source: SocketAddrV6,
    hop_limit: u8,
}

/// A raw ICMPv6 socket on one interface.
pub(crate) fn bind(link: &Link) -> io::Result<AsyncFd<Socket>> {
    if !interface::has_link_local(&link.name) {
        return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "no IPv6 link-local address"));
    }
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.set_nonblocking(true)?;
    socket.bind_device(Some(link.name.as_bytes()))?;
    socket.join_multicast_v6(&ALL_ROUTERS, link.index)?;
    socket.set_recv_hoplimit_v6(true)?;
    socket.set_unicast_hops_v6(u32::from(icmpv6::HOP_LIMIT))?;
    // SAFETY: a `Socket` owns one descriptor, gives the same one at each call and closes it only
    // when it is dropped, after the registration that owns it.
    Ok(unsafe { AsyncFd::register(socket) }?)
}

/// Answers until the task is aborted.
pub(crate) async fn serve(shared: Arc<Shared>, socket: AsyncFd<Socket>) {
    let mut buffer = vec![0; RECEIVE_BUFFER];
    loop {
        let received = socket.async_io(tokio::io::Interest::READABLE, |socket| receive(socket, &mut buffer)).await;
        let solicitation = match received {
            Ok(solicitation) => solicitation,
            Err(error) => {
                tracing::debug!(%error, "receiving ICMPv6 failed");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                continue;
            }
        };
        let message = &buffer[..solicitation.length];
        let sender = icmpv6::solicitation_sender(message, *solicitation.source.ip(), solicitation.hop_limit);
        let Some(mac) = sender else {
            let from = *solicitation.source.ip();
            if icmpv6::is_malformed_solicitation(message, from) {
                shared.counting.solicitations_malformed.add(1);
                shared.complain(Trouble::Solicitation, Some(from.into()), || {
                    format!("{from} sent a router solicitation that is none (RFC 4861, 6.1.1)")
                });
            }
            continue;
        };
        if !shared.engine().is_booting(shared.now(), mac) {
            continue;
        }
        // Lost or failed, the machine only waits a little longer.
        match socket.get_ref().send_to(&icmpv6::empty_advertisement(), &solicitation.source.into()) {
            Ok(_) => {
                shared.counting.solicitations_answered.add(1);
                tracing::debug!(%mac, "told that there is no IPv6 router here");
            }
            Err(error) => tracing::debug!(%mac, %error, "sending a router advertisement failed"),
        }
    }
}

fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<Solicitation> {
    let mut control = vec![0; cmsg_space::<libc::c_int>()];
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
    let source = message.address.ok_or(io::ErrorKind::InvalidData)?;
    let hop_limit = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv6HopLimit(limit) => u8::try_from(limit).ok(),
        _ => None,
    });
    // A raw socket has no port; the number of the interface makes a link-local address complete.
    let source = SocketAddrV6::new(source.ip(), 0, 0, source.scope_id());
    Ok(Solicitation { length: message.bytes, source, hop_limit: hop_limit.unwrap_or(0) })
}
