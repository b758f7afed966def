//! Lists that the kernel's routing socket gives, without waiting.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::Error;
use socket2::{Domain, Protocol, Socket, Type};

use super::LinkError;

/// The kernel fills at most 32 KiB at a time.
const BUFFER: usize = 64 << 10;
/// The parts of a netlink message begin at multiples of this.
const ALIGNMENT: usize = 4;
/// Never reached: the kernel prepares each part of a list within the call that asks for it.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A routing socket, in the network namespace of the thread that asks.
pub(super) fn open() -> io::Result<Socket> {
    let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(libc::NETLINK_ROUTE)))?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    Ok(socket)
}

/// All that the kernel lists in answer to `query`; `action` says what for.
///
/// It makes and reads such a list within system calls that do not sleep. Through an asynchronous socket and its task
/// the same costs a dozen switches between threads, and the agent looks at its interfaces every few seconds.
pub(super) fn dump(action: &str, query: RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, LinkError> {
    let socket = open()?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(query));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    // Without an address it goes to the kernel.
    socket.send(&bytes)?;
    let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
    let mut messages = Vec::new();
    loop {
        let length = socket.recv(&mut buffer)?;
        // SAFETY: recv has initialised the first `length` bytes.
        let part: Vec<u8> = buffer.iter().take(length).map(|byte| unsafe { byte.assume_init() }).collect();
        if take(action, &part, &mut messages)? {
            return Ok(messages);
        }
    }
}

/// Reads the messages of one part; whether it is the last one.
fn take(action: &str, mut part: &[u8], messages: &mut Vec<RouteNetlinkMessage>) -> Result<bool, LinkError> {
    let refused = || LinkError::refused(action.to_owned());
    if part.is_empty() {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    while !part.is_empty() {
        let malformed = |error| LinkError::from(io::Error::new(io::ErrorKind::InvalidData, error));
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(part).map_err(malformed)?;
        match message.payload {
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) => return Err(refused()(Error::NetlinkError(error))),
            NetlinkPayload::InnerMessage(inner) => messages.push(inner),
            _ => {}
        }
        let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
        part = part.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::ErrorMessage;

    use super::*;

    fn bytes(payload: NetlinkPayload<RouteNetlinkMessage>) -> Vec<u8> {
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), payload);
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }

    #[test]
    fn a_list_ends_with_done_or_with_an_error() {
        let entry = bytes(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(Default::default())));
        let mut messages = Vec::new();
        assert!(!take("x", &[entry.clone(), entry.clone()].concat(), &mut messages).unwrap());
        assert_eq!(messages.len(), 2);
        assert!(take("x", &[entry, bytes(NetlinkPayload::Done(Default::default()))].concat(), &mut messages).unwrap());
        assert_eq!(messages.len(), 3);
        let mut error = ErrorMessage::default();
        error.code = std::num::NonZeroI32::new(-libc::EBUSY);
        let refused = take("x", &bytes(NetlinkPayload::Error(error)), &mut messages).unwrap_err();
        assert_eq!(refused.errno(), Some(libc::EBUSY));
        for broken in [&[][..], &[1, 2, 3], &[0; 16]] {
            assert!(take("x", broken, &mut messages).is_err(), "{broken:?}");
        }
    }
}
