//! Who is told that there is no IPv6 router: a booting machine, and nobody else.

use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::net::{Ipv6Addr, SocketAddrV6};

use anyhow::{Context, Result};
use meadow_rack::namespace::Namespace;
use meadow_tests_netns::{Net, PATIENCE};
use socket2::{Domain, Protocol, Socket, Type};

const ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// A stranger on the same wire, and the address that it asks from.
const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 0x66];
const FROM_STRANGER: &str = "fe80::66";
/// The address that the booting machine asks from.
const FROM_MACHINE: &str = "fe80::7";

/// A router solicitation that names this card (RFC 4861, 4.1), without its checksum, which the kernel fills in.
fn solicitation(mac: [u8; 6]) -> Vec<u8> {
    [&[133, 0, 0, 0, 0, 0, 0, 0, 1, 1][..], &mac].concat()
}

fn socket(address: &str, index: u32) -> Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.bind(&SocketAddrV6::new(address.parse()?, 0, 0, index).into())?;
    socket.set_multicast_hops_v6(255)?;
    socket.set_multicast_if_v6(index)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// The next advertisement that came to this socket; `None` where there is none now and `waits` is not set.
fn advertisement(socket: &Socket, waits: bool) -> Result<Option<Vec<u8>>> {
    socket.set_nonblocking(!waits)?;
    loop {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 1500];
        let length = match socket.recv_from(&mut buffer) {
            Ok((length, _)) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock && !waits => return Ok(None),
            Err(error) => return Err(error).context("no advertisement"),
        };
        // SAFETY: `recv_from` has written that many bytes.
        let bytes = unsafe { &*(&raw const buffer[..length] as *const [u8]) };
        if bytes.first() == Some(&134) {
            return Ok(Some(bytes.to_vec()));
        }
    }
}

/// Asks as a stranger, with a card that is none, then as the machine. What the machine hears, and what the stranger has
/// heard by then: the server answers in order.
fn ask(client: &Namespace, mac: [u8; 6]) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
    let work = || {
        client.enter()?;
        let index = nix_index("eth0")?;
        let (stranger, machine) = (socket(FROM_STRANGER, index)?, socket(FROM_MACHINE, index)?);
        let routers = SocketAddrV6::new(ROUTERS, 0, 0, index).into();
        stranger.send_to(&solicitation(STRANGER), &routers)?;
        stranger.send_to(&solicitation([0xff; 6]), &routers)?;
        machine.send_to(&solicitation(mac), &routers)?;
        let heard = advertisement(&machine, true)?.context("no advertisement")?;
        Ok((heard, advertisement(&stranger, false)?))
    };
    // A thread of its own, since only the calling thread enters the namespace.
    std::thread::scope(|scope| scope.spawn(work).join()).expect("no panic")
}

/// The number of an interface of this thread's namespace.
fn nix_index(name: &str) -> Result<u32> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
    socket.bind_device(Some(name.as_bytes()))?;
    socket.device_index_v6()?.map(Into::into).context("no interface")
}

#[test]
fn a_booting_machine_alone_is_told_that_there_is_no_ipv6_router() {
    let mut net = Net::build().expect("namespaces");
    for address in [FROM_STRANGER, FROM_MACHINE] {
        net.client().ip(&["addr", "add", &format!("{address}/64"), "dev", "eth0", "nodad"]).expect("an address");
    }
    let mut server = net.serve("image").expect("a boot server");
    // It enters its PXE stage; whether it takes a lease does not matter.
    let class = "PXEClient:Arch:00007:UNDI:003016";
    let asks =
        ["-i", "eth0", "-f", "-n", "-q", "-s", "/bin/true", "-t", "2", "-T", "1", "-V", class, "-x", "0x5d:0007"];
    net.on_client("udhcpc", &asks).expect("udhcpc");
    server.wait_for("offered ipxe/snponly.efi", PATIENCE).expect("it boots");
    let mac = net.client_mac().expect("a MAC");
    let bytes: Vec<u8> = mac.split(':').map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect();
    let (heard, stranger) = ask(net.client(), bytes.try_into().expect("six bytes")).expect("an advertisement");
    // Lifetime 0, no flags, no prefix.
    assert_eq!((heard.len(), heard[5], &heard[6..8]), (16, 0, &[0, 0][..]), "{heard:?}");
    assert_eq!(stranger, None);
}
