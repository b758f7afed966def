//! The eye on other DHCP and boot servers: a packet socket that hears what they say, and a probe that makes them speak.

use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;

use meadow_model::MacAddress;
use meadow_netboot::EventKind;
use meadow_netboot::dhcp::{OtherServer, probe};
use nix::libc;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockFilter, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use crate::interface::{self, Link};
use crate::segment::Segment;
use crate::supervisor::PAUSE_AFTER_ERROR;

/// How long a probe waits: a dnsmasq pings for 3 s before it offers.
pub(crate) const LISTEN: Duration = Duration::from_secs(6);
/// When a probe is sent again, since broadcasts get lost.
pub(crate) const AGAIN: Duration = Duration::from_secs(2);
/// Pause between probes beside the home router, which pings for 3 s before it answers one and serves nobody meanwhile.
const PROXY_PAUSE: Duration = Duration::from_secs(3600);
/// The same while a second boot server is known: whether it is gone.
const SECOND_PAUSE: Duration = Duration::from_secs(120);
/// Pause while addresses are given out.
const FULL_PAUSE: Duration = Duration::from_secs(300);
/// Pause while another server keeps us from it.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// Seconds by which that pause differs from time to time: two of us that keep each other from it must not do so for ever.
const SPREAD: u32 = 16;
const BUFFER: usize = 1600;

/// A packet socket of one interface that gets what DHCP servers and boot servers send.
pub(crate) struct Wire {
    socket: AsyncFd<Socket>,
    link: Link,
    mac: MacAddress,
}

impl Wire {
    pub(crate) fn open(link: &Link) -> io::Result<Self> {
        let protocol = u16::try_from(libc::ETH_P_IP).map_err(io::Error::other)?.to_be();
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(i32::from(protocol))))?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(&filter())?;
        socket.bind(&address(link, [0; 6])?)?;
        let mac = interface::mac_of(&link.name)?;
        // SAFETY: a `Socket` owns one descriptor, gives the same one at each call and closes it only when it is dropped,
        // after the registration that owns it.
        Ok(Self { socket: unsafe { AsyncFd::register(socket) }?, link: link.clone(), mac })
    }

    /// Asks as PXE firmware does; with `leases` as an ordinary client too, for servers that leave firmware alone.
    pub(crate) async fn send_probes(&self, xid: u32, leases: bool) -> io::Result<()> {
        let everybody = address(&self.link, [0xff; 6])?;
        let probes = [(true, xid), (false, xid.wrapping_add(1))];
        for (boots, xid) in probes.into_iter().filter(|(boots, _)| *boots || leases) {
            let packet = probe(self.mac, xid, boots).ok_or(io::ErrorKind::InvalidData)?;
            self.socket.async_io(Interest::WRITABLE, |socket| socket.send_to(&packet, &everybody)).await?;
        }
        Ok(())
    }

    /// Waits for a packet of another server; it and the card that it came from.
    pub(crate) async fn hear(&self) -> (OtherServer, Option<MacAddress>) {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        loop {
            let received = self.socket.async_io(Interest::READABLE, |socket| socket.recv_from(&mut buffer)).await;
            let (length, from) = match received {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!(%error, "listening for other DHCP servers failed");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                    continue;
                }
            };
            // SAFETY: `recv_from` has written that many bytes.
            let packet = unsafe { &*(&raw const buffer[..length] as *const [u8]) };
            if let Some(server) = OtherServer::parse(packet, self.link.address) {
                return (server, card(&from));
            }
        }
    }
}

/// Looks and listens until the task is aborted.
pub(crate) async fn serve(segment: Arc<Segment>, wire: Wire) {
    // Any number that others do not have at the same time.
    let mut xid = u32::from_ne_bytes([wire.mac.0[2], wire.mac.0[3], wire.mac.0[4], wire.mac.0[5]]);
    loop {
        // Without an address of its own a card cannot ask, and nothing is known of who else is there.
        if wire.mac.is_unicast() {
            xid = xid.wrapping_add(0x9e37_79b9);
            look(&segment, &wire, xid).await;
        }
        let (leases, boots) = segment.others().any();
        let pause = match (segment.wants_leases(wire.link.address), leases) {
            (false, _) if boots => SECOND_PAUSE,
            (false, _) => PROXY_PAUSE,
            (true, false) => FULL_PAUSE,
            (true, true) => REFUSED_PAUSE + Duration::from_secs(u64::from(xid % SPREAD)),
        };
        listen(&segment, &wire, pause, true).await;
    }
}

/// One probe, and what follows from it.
async fn look(segment: &Segment, wire: &Wire, xid: u32) {
    let began = segment.shared.now();
    for wait in [AGAIN, LISTEN.saturating_sub(AGAIN)] {
        if let Err(error) = wire.send_probes(xid, segment.wants_leases(wire.link.address)).await {
            tracing::debug!(%error, "the probe for other DHCP servers could not be sent");
            return;
        }
        listen(segment, wire, wait, false).await;
    }
    let is_alone = {
        let mut others = segment.others();
        others.forget_before(began);
        !others.any().0
    };
    allow(segment, wire, is_alone);
}

/// Listens for a while. With `alert`, it ends soon after somebody is heard who keeps us from giving out addresses.
async fn listen(segment: &Segment, wire: &Wire, lasts: Duration, alert: bool) {
    let mut until = Instant::now() + lasts;
    while let Ok((server, mac)) = tokio::time::timeout_at(until, wire.hear()).await {
        // Another interface of ours is on this wire too.
        if segment.shared.own_cards.has_address(server.address) {
            continue;
        }
        segment.others().hear(segment.shared.now(), server, mac);
        if server.leases && segment.wants_leases(wire.link.address) {
            allow(segment, wire, false);
            if alert {
                until = until.min(Instant::now() + REFUSED_PAUSE);
            }
        }
    }
}

/// Lets addresses be given out, or stops it.
fn allow(segment: &Segment, wire: &Wire, is_alone: bool) {
    if !segment.wants_leases(wire.link.address) || segment.set_alone(is_alone) == is_alone {
        return;
    }
    let interface = &segment.name;
    let message = if is_alone {
        format!("nobody else gives out addresses on {interface}: full DHCP begins")
    } else {
        format!("another DHCP server was heard on {interface}: full DHCP ends, boot files are still offered beside it")
    };
    segment.shared.say(EventKind::Server { message });
}

/// UDP from port 67 or 4011, not in fragments: a jump counts the statements that it passes over. Not what is for another
/// host: that is how a frame of a VLAN that has no interface here looks, and it says nothing of this wire.
fn filter() -> [SockFilter; 12] {
    let statement = |code: u32, yes, no, k| SockFilter::new(u16::try_from(code).unwrap_or(0), yes, no, k);
    let load = libc::BPF_LD | libc::BPF_ABS;
    let jump = libc::BPF_JMP | libc::BPF_K;
    [
        statement(load | libc::BPF_W, 0, 0, (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE).cast_unsigned()),
        statement(jump | libc::BPF_JEQ, 8, 0, libc::PACKET_OTHERHOST.into()),
        statement(load | libc::BPF_B, 0, 0, 9),
        statement(jump | libc::BPF_JEQ, 0, 6, 17),
        statement(load | libc::BPF_H, 0, 0, 6),
        statement(jump | libc::BPF_JSET, 4, 0, 0x3fff),
        statement(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0, 0, 0),
        statement(libc::BPF_LD | libc::BPF_H | libc::BPF_IND, 0, 0, 0),
        statement(jump | libc::BPF_JEQ, 2, 0, 67),
        statement(jump | libc::BPF_JEQ, 1, 0, 4011),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, 0xffff),
    ]
}

/// The interface, and a card on it.
fn address(link: &Link, card: [u8; 6]) -> io::Result<SockAddr> {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: a `sockaddr_ll` fits the storage (packet(7)), which is zeroed, and is plain data.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    address.sll_protocol = u16::try_from(libc::ETH_P_IP).map_err(io::Error::other)?.to_be();
    address.sll_ifindex = i32::try_from(link.index).map_err(io::Error::other)?;
    address.sll_halen = 6;
    address.sll_addr[..6].copy_from_slice(&card);
    let length = u32::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: the storage holds a `sockaddr_ll` of that length.
    Ok(unsafe { SockAddr::new(storage, length) })
}

/// The card that a packet came from.
fn card(from: &SockAddr) -> Option<MacAddress> {
    let length = usize::try_from(from.len()).ok()?;
    if i32::from(from.family()) != libc::AF_PACKET || length < size_of::<libc::sockaddr_ll>() {
        return None;
    }
    // SAFETY: the kernel wrote a `sockaddr_ll` of that length, and it is plain data.
    let address = unsafe { from.as_ptr().cast::<libc::sockaddr_ll>().read_unaligned() };
    let [a, b, c, d, e, f, ..] = address.sll_addr;
    Some(MacAddress([a, b, c, d, e, f])).filter(|mac| address.sll_halen == 6 && mac.is_unicast())
}
