//! Reachability: ICMPv6 echo (RFC 4443 section 4.1).

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::entropy::{Entropy, SystemEntropy};

const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;

/// The time until `address` answered an echo request, or `None` where it did not within `timeout`.
///
/// # Errors
/// Where the system gives no raw socket (CAP_NET_RAW) or has no route to the address.
pub async fn ping(address: Ipv6Addr, timeout: Duration) -> io::Result<Option<Duration>> {
    tokio::task::spawn_blocking(move || ping_blocking(address, timeout)).await?
}

fn ping_blocking(address: Ipv6Addr, timeout: Duration) -> io::Result<Option<Duration>> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    let mut token = [0; 12];
    SystemEntropy.fill(&mut token).map_err(io::Error::other)?;
    let start = Instant::now();
    // Type, code, checksum (the kernel fills it in, RFC 3542 section 3.1), then identifier, sequence number and data,
    // all of them random: only an answer to this very request carries them.
    let mut request = vec![ECHO_REQUEST, 0, 0, 0];
    request.extend_from_slice(&token);
    socket.send_to(&request, &SocketAddr::from(SocketAddrV6::new(address, 0, 0, 0)).into())?;
    let mut buffer = [MaybeUninit::<u8>::uninit(); 64];
    loop {
        let left = timeout.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        let (length, from) = match socket.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        // SAFETY: recv_from initialised the first `length` bytes.
        let packet: Vec<u8> = buffer.iter().take(length).map(|byte| unsafe { byte.assume_init() }).collect();
        let ours = packet.first() == Some(&ECHO_REPLY) && packet.get(4..) == Some(&token[..]);
        if ours && from.as_socket_ipv6().is_some_and(|from| *from.ip() == address) {
            return Ok(Some(start.elapsed()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn loopback_answers_and_an_unused_address_does_not() {
        let answered = ping(Ipv6Addr::LOCALHOST, Duration::from_secs(5)).await.expect("a raw socket; run as root");
        assert!(answered.is_some());
        // RFC 6666: the discard prefix; no route or no answer, but never success.
        let discard = "100::1".parse().expect("address");
        assert!(!matches!(ping(discard, Duration::from_millis(50)).await, Ok(Some(_))));
    }
}
