//! The kernel's ends of a card whose frames a test carries itself.

use std::fs::File;
use std::mem::zeroed;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use meadow_rack::namespace::Namespace;
use nix::libc;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

use crate::within;

/// `ETHTOOL_STXCSUM` of linux/ethtool.h: who writes checksums.
const SET_TX_CHECKSUMS: u32 = 0x17;
/// linux/if_packet.h: what we have sent ourselves.
const OUTGOING: u32 = 4;

nix::ioctl_write_ptr_bad!(attach, libc::TUNSETIFF, libc::ifreq);
nix::ioctl_write_ptr_bad!(ethtool, libc::SIOCETHTOOL, libc::ifreq);

/// `struct ethtool_value` of linux/ethtool.h.
#[repr(C)]
#[allow(dead_code, reason = "the kernel reads it")]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// The program's end of a TAP device of this thread's namespace.
pub(crate) fn tap(name: &str) -> Result<File> {
    let file = File::options().read(true).write(true).open("/dev/net/tun").context("cannot open /dev/net/tun")?;
    let mut request = request(name);
    // Plain Ethernet frames. The flags have 16 bits there.
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_TAP | libc::IFF_NO_PI)?;
    // SAFETY: the request is an `ifreq`, as TUNSETIFF reads one.
    unsafe { attach(file.as_raw_fd(), &raw const request) }.with_context(|| format!("cannot attach to {name}"))?;
    Ok(file)
}

/// A packet socket of a card of this thread's namespace, which gets what comes in with the tag of this VLAN, and with
/// none or for its priority alone where that is 0.
pub(crate) fn cable(name: &str, vlan: u16) -> Result<Socket> {
    // It hears nothing before it is bound: with protocol 0.
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    socket.attach_filter(&filter(vlan.into()))?;
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: a `sockaddr_ll` fits the storage (packet(7)), which is zeroed, and is plain data.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = u16::try_from(libc::AF_PACKET)?;
    address.sll_protocol = u16::try_from(libc::ETH_P_ALL)?.to_be();
    address.sll_ifindex = if_nametoindex(name)?.try_into()?;
    let length = u32::try_from(size_of::<libc::sockaddr_ll>())?;
    // SAFETY: the storage holds a `sockaddr_ll` of that length.
    socket.bind(&unsafe { SockAddr::new(storage, length) })?;
    Ok(socket)
}

/// The kernel keeps a tag beside its frame, where only such a program and `PACKET_AUXDATA` see it.
fn filter(vlan: u32) -> [SockFilter; 7] {
    let statement = |code: u32, yes, no, k| SockFilter::new(u16::try_from(code).unwrap_or(0), yes, no, k);
    let load = |what: i32| {
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, (libc::SKF_AD_OFF + what).cast_unsigned())
    };
    let equals = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    [
        load(libc::SKF_AD_PKTTYPE),
        statement(equals, 4, 0, OUTGOING),
        load(libc::SKF_AD_VLAN_TAG),
        statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, 0xfff),
        statement(equals, 0, 1, vlan),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, 0xffff),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ]
}

/// Makes a computer write whole frames to its card, with checksums and none that is larger than the cable takes: who
/// carries frames himself hands them on as he finds them.
///
/// # Errors
/// When there is no such card.
pub fn write_whole_frames(computer: &Namespace, card: &str) -> Result<()> {
    within(computer, || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        let mut value = EthtoolValue { command: SET_TX_CHECKSUMS, data: 0 };
        let mut request = request(card);
        request.ifr_ifru.ifru_data = (&raw mut value).cast();
        // SAFETY: the request names a value that outlives the call, as SIOCETHTOOL reads one.
        unsafe { ethtool(socket.as_raw_fd(), &raw const request) }
            .with_context(|| format!("cannot have {card} write its checksums"))?;
        Ok(())
    })
}

/// A request about a card. The name ends with a NUL, since it was zeroed.
fn request(card: &str) -> libc::ifreq {
    // SAFETY: an `ifreq` is plain data, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (to, from) in request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(card.bytes()) {
        *to = from as libc::c_char;
    }
    request
}
