//! Our end of a transfer: a port of its own, or port 69 shared with all others.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use meadow_netboot::tftp::{Window, data_header};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, sendmmsg, sendmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::Receiver;

use crate::interface::Link;
use crate::udp::{self, UdpPort};

use super::offload::{Offload, Refusal};
use super::table::Message;

/// What one call may send (udp(7)): 64 segments, and no more than a datagram could hold.
const MAX_SEGMENTS: u16 = 64;
const MAX_BYTES: usize = 65_000;
const HEADER: usize = 4;

/// Where the packets of one transfer leave and arrive.
#[derive(Debug)]
pub(super) struct Endpoint {
    way: Way,
    /// Whether the kernel refused to segment this transfer's blocks.
    is_plain: bool,
}

#[derive(Debug)]
enum Way {
    Own(UdpSocket),
    Shared { port: Arc<UdpPort>, info: libc::in_pktinfo, client: SocketAddrV4 },
}

impl Endpoint {
    /// A new port, connected to the client, so that only it is heard.
    pub(super) fn own(link: &Link, local: Ipv4Addr, client: SocketAddrV4) -> io::Result<Self> {
        Ok(Self { way: Way::Own(udp::connected(link, local, client)?), is_plain: false })
    }

    /// The port that the request came to.
    pub(super) fn shared(port: Arc<UdpPort>, local: Ipv4Addr, client: SocketAddrV4) -> Self {
        let info = port.packet_info(local);
        Self { way: Way::Shared { port, info, client }, is_plain: false }
    }

    /// Waits for what the client sends next. `is_answered` says that it got our first answer, after which only its own
    /// port hears from it.
    pub(super) async fn receive(
        &self,
        messages: &mut Receiver<Message>,
        is_answered: bool,
        buffer: &mut [u8],
    ) -> io::Result<Message> {
        match &self.way {
            Way::Own(socket) if is_answered => {
                socket.recv(buffer).await.map(|length| Message::from(buffer[..length].to_vec()))
            }
            Way::Own(socket) => tokio::select! {
                received = socket.recv(buffer) => received.map(|length| Message::from(buffer[..length].to_vec())),
                message = messages.recv() => message.ok_or_else(|| io::ErrorKind::BrokenPipe.into()),
            },
            Way::Shared { .. } => messages.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Sends one packet.
    pub(super) async fn send_packet(&self, packet: &[u8]) -> io::Result<()> {
        self.when_writable(|way| way.send(&[IoSlice::new(packet)], None)).await
    }

    /// Reads blocks from the file and sends them.
    pub(super) async fn send_blocks(&mut self, file: &File, window: Window, offload: &Offload) -> io::Result<()> {
        let at_once = MAX_SEGMENTS.min((MAX_BYTES / (HEADER + usize::from(window.block_size))) as u16).max(1);
        for first in (0..window.blocks).step_by(usize::from(at_once)) {
            let part = part(&window, first, at_once.min(window.blocks - first));
            if offload.is_on() && !self.is_plain && part.blocks > 1 {
                match self.when_writable(|way| way.send_part(file, &part, true)).await {
                    Ok(()) => continue,
                    Err(error) => match error.raw_os_error().and_then(|code| offload.refused(Errno::from_raw(code))) {
                        Some(Refusal::Link) => tracing::debug!(%error, "no UDP segmentation on this link"),
                        Some(Refusal::Transfer) => self.is_plain = true,
                        None => return Err(error),
                    },
                }
            }
            self.when_writable(|way| way.send_part(file, &part, false)).await?;
        }
        Ok(())
    }

    /// Calls `send` once the socket takes a packet, again as long as it would block.
    async fn when_writable(&self, send: impl Fn(&Way) -> nix::Result<()>) -> io::Result<()> {
        let socket = match &self.way {
            Way::Own(socket) => socket,
            Way::Shared { port, .. } => port.socket(),
        };
        match socket.async_io(Interest::WRITABLE, || send(&self.way).map_err(io::Error::from)).await {
            // Refers to an earlier packet; the next receive tells.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            result => result,
        }
    }
}

/// Some blocks of a window.
fn part(window: &Window, first: u16, blocks: u16) -> Window {
    let skipped = u64::from(first) * u64::from(window.block_size);
    let length = (u64::from(blocks) * u64::from(window.block_size)).min(window.length - skipped);
    let first_block = window.first_block.wrapping_add(first);
    Window { first_block, offset: window.offset + skipped, length, blocks, block_size: window.block_size }
}

thread_local! {
    /// What is read from files, for all transfers of this thread: none keeps it beyond one call.
    static DATA: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Way {
    /// Sends blocks in one call: as one send that the kernel cuts, or as many.
    fn send_part(&self, file: &File, part: &Window, is_segmented: bool) -> nix::Result<()> {
        DATA.with_borrow_mut(|data| {
            // Fits: at most MAX_BYTES.
            data.resize(part.length as usize, 0);
            file.read_exact_at(data, part.offset)
                .map_err(|error| error.raw_os_error().map_or(Errno::ENODATA, Errno::from_raw))?;
            let headers: Vec<_> =
                (0..part.blocks).map(|index| data_header(part.first_block.wrapping_add(index))).collect();
            let size = usize::from(part.block_size);
            let mut slices = Vec::with_capacity(2 * headers.len());
            let mut rest = data.as_slice();
            for header in &headers {
                let (block, tail) = rest.split_at(rest.len().min(size));
                slices.extend([IoSlice::new(header), IoSlice::new(block)]);
                rest = tail;
            }
            if is_segmented {
                let segment = part.block_size + HEADER as u16;
                return self.send(&slices, Some(segment));
            }
            self.send_each(&slices)
        })
    }

    fn send(&self, slices: &[IoSlice<'_>], segment: Option<u16>) -> nix::Result<()> {
        let (descriptor, info, client) = self.parts();
        let mut control = Vec::with_capacity(2);
        control.extend(info.map(ControlMessage::Ipv4PacketInfo));
        control.extend(segment.as_ref().map(ControlMessage::UdpGsoSegments));
        sendmsg(descriptor, slices, &control, MsgFlags::empty(), client.as_ref()).map(drop)
    }

    /// Sends packets of two slices each. What does not fit into the socket is lost as on the wire, and sent again when
    /// the client misses it.
    fn send_each(&self, slices: &[IoSlice<'_>]) -> nix::Result<()> {
        let (descriptor, info, client) = self.parts();
        let packets: Vec<&[IoSlice<'_>]> = slices.chunks(2).collect();
        let space = info.map(|_| nix::cmsg_space!(libc::in_pktinfo));
        let mut headers = MultiHeaders::preallocate(packets.len(), space);
        let control: Vec<_> = info.map(ControlMessage::Ipv4PacketInfo).into_iter().collect();
        let addresses = vec![client; packets.len()];
        sendmmsg(descriptor, &mut headers, &packets, addresses, control, MsgFlags::empty()).map(drop)
    }

    fn parts(&self) -> (i32, Option<&libc::in_pktinfo>, Option<SockaddrIn>) {
        match self {
            Self::Own(socket) => (socket.as_raw_fd(), None, None),
            Self::Shared { port, info, client } => {
                (port.socket().as_raw_fd(), Some(info), Some(SockaddrIn::from(*client)))
            }
        }
    }
}
