//! A TFTP client that is not the bottleneck: it takes many datagrams in one call where the server's kernel sent them as
//! one (UDP_GRO), and keeps nothing.

use std::io::IoSliceMut;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, setsockopt, sockopt};

/// How long a server may be silent; the machine may be busy.
const SILENCE: Duration = Duration::from_secs(10);
/// When the client asks again.
const PATIENCE: Duration = Duration::from_secs(1);
/// Nothing larger comes in one call.
const BUFFER: usize = 1 << 16;
/// Room in the socket: the client is never the one that loses.
const RECEIVE_BUFFER: usize = 4 << 20;
/// RFC 1350 and 2347.
const DATA: u16 = 3;
const ACK: u8 = 4;
const OACK: u16 = 6;

/// What a client asks for, as iPXE and recent firmware do; a server may know less.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wishes {
    /// Bytes in a block.
    pub(crate) block: u16,
    /// Blocks between two acknowledgements; 1 is not asked for.
    pub(crate) window: u16,
}

/// One download.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Download {
    /// Bytes of the file.
    pub(crate) bytes: u64,
    /// Seconds from the first block of a window to its last, summed over all whole windows.
    pub(crate) taking: f64,
    /// Whole windows.
    pub(crate) windows: u32,
    /// The longest time in which nothing came, in seconds.
    pub(crate) longest: f64,
}

/// Downloads `name` from the TFTP server at `server`.
///
/// # Errors
/// When the server refuses or falls silent.
pub(crate) fn download(own: Ipv4Addr, server: SocketAddr, name: &str, wishes: Wishes) -> Result<Download> {
    let socket = UdpSocket::bind((own, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    // Without them the client is slower, and still right.
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER);
    let _ = setsockopt(&socket, sockopt::UdpGroSegment, &true);
    let mut request = format!("\0\u{1}{name}\0octet\0blksize\0{}\0", wishes.block);
    if wishes.window > 1 {
        request += &format!("windowsize\0{}\0", wishes.window);
    }
    let mut buffer = vec![0; BUFFER];
    let mut since = Instant::now();
    let (first, peer) = ask(&socket, server, request.as_bytes(), &mut buffer)?;
    socket.connect(peer)?;
    let mut transfer = Transfer::begin(buffer.get(..first).unwrap_or_default())?;
    let mut longest = since.elapsed();
    since = Instant::now();
    let mut silent = Duration::ZERO;
    loop {
        if let Some(block) = transfer.acknowledge.take() {
            let [high, low] = block.to_be_bytes();
            socket.send(&[0, ACK, high, low])?;
        }
        if transfer.is_done {
            return Ok(Download { longest: longest.as_secs_f64(), ..transfer.download });
        }
        match receive(&socket, &mut buffer) {
            Ok((length, segment)) => {
                silent = Duration::ZERO;
                let now = Instant::now();
                longest = longest.max(now - since);
                since = now;
                for packet in buffer.get(..length).unwrap_or_default().chunks(segment) {
                    transfer.take(packet, now)?;
                }
            }
            Err(_) if silent < SILENCE => {
                silent += PATIENCE;
                transfer.acknowledge = Some(transfer.last);
            }
            Err(error) => return Err(error).with_context(|| format!("no more of {name}")),
        }
    }
}

/// Bytes that came, and the size of each packet in them.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> nix::Result<(usize, usize)> {
    let mut control = nix::cmsg_space!(i32);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
    let segment = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::UdpGroSegments(size) => usize::try_from(size).ok(),
        _ => None,
    });
    let length = message.bytes;
    Ok((length, segment.unwrap_or(length).max(1)))
}

/// Sends the request until somebody answers.
fn ask(socket: &UdpSocket, server: SocketAddr, request: &[u8], buffer: &mut [u8]) -> Result<(usize, SocketAddr)> {
    for _ in 0..SILENCE.as_secs() {
        socket.send_to(request, server)?;
        if let Ok(answer) = socket.recv_from(buffer) {
            return Ok(answer);
        }
    }
    bail!("nobody answers TFTP at {server}")
}

/// The receiving side of one download (RFC 1350, options 2347, 2348, 7440).
#[derive(Debug)]
struct Transfer {
    block_size: usize,
    window: u16,
    /// The last block that came in order.
    last: u16,
    in_window: u16,
    began: Option<Instant>,
    /// The block behind a gap that was already told; one that is not newer belongs to another burst.
    told: Option<u16>,
    download: Download,
    acknowledge: Option<u16>,
    is_done: bool,
}

impl Transfer {
    /// From the first answer: an option acknowledgement, or already data where the server knows no options.
    fn begin(packet: &[u8]) -> Result<Self> {
        let mut transfer = Self {
            block_size: 512,
            window: 1,
            last: 0,
            in_window: 0,
            began: None,
            told: None,
            download: Download::default(),
            acknowledge: None,
            is_done: false,
        };
        if opcode(packet) != Some(OACK) {
            transfer.take(packet, Instant::now())?;
            return Ok(transfer);
        }
        let texts: Vec<&[u8]> = packet.get(2..).unwrap_or_default().split(|byte| *byte == 0).collect();
        for option in texts.chunks_exact(2) {
            let value = String::from_utf8_lossy(option[1]);
            match option[0].to_ascii_lowercase().as_slice() {
                b"blksize" => transfer.block_size = value.parse()?,
                b"windowsize" => transfer.window = value.parse()?,
                _ => {}
            }
        }
        transfer.acknowledge = Some(0);
        Ok(transfer)
    }

    /// Takes the next packet.
    fn take(&mut self, packet: &[u8], now: Instant) -> Result<()> {
        if opcode(packet) == Some(OACK) {
            // The answer to a repeated request. Only before the first block it says that ours was lost.
            self.acknowledge = (self.last == 0 && self.began.is_none()).then_some(0);
            return Ok(());
        }
        let (Some(DATA), Some(data)) = (opcode(packet), packet.get(4..)) else {
            bail!("the server answers: {}", String::from_utf8_lossy(packet.get(4..).unwrap_or_default()));
        };
        if self.is_done {
            return Ok(());
        }
        if packet.get(2..4) != Some(&self.last.wrapping_add(1).to_be_bytes()) {
            // A gap, told once: what was received is acknowledged, and the server goes on from there. A block that is
            // here already tells that an acknowledgement was lost.
            let block = packet.get(2..4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_be_bytes);
            let is_old = self.last.wrapping_sub(block) < 1 << 15;
            let is_same_burst = self.told.is_some_and(|told| (1..1 << 15).contains(&block.wrapping_sub(told)));
            if is_old || !is_same_burst {
                self.acknowledge = Some(self.last);
                (self.in_window, self.began) = (0, None);
            }
            self.told = (!is_old).then_some(block);
            return Ok(());
        }
        self.told = None;
        let began = *self.began.get_or_insert(now);
        self.last = self.last.wrapping_add(1);
        self.in_window += 1;
        self.download.bytes += u64::try_from(data.len())?;
        ensure!(data.len() <= self.block_size, "a block of {} bytes", data.len());
        self.is_done = data.len() < self.block_size;
        if self.is_done || self.in_window >= self.window {
            if self.in_window >= self.window {
                self.download.windows += 1;
                self.download.taking += (now - began).as_secs_f64();
            }
            (self.in_window, self.began) = (0, None);
            self.acknowledge = Some(self.last);
        }
        Ok(())
    }
}

fn opcode(packet: &[u8]) -> Option<u16> {
    packet.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(block: u16, length: usize) -> Vec<u8> {
        [&[0, 3], block.to_be_bytes().as_slice(), &vec![7; length]].concat()
    }

    #[test]
    fn windows_gaps_and_the_last_block() {
        let mut transfer = Transfer::begin(b"\0\x06blksize\x0010\0windowsize\x002\0").expect("options");
        assert_eq!((transfer.block_size, transfer.window, transfer.acknowledge.take()), (10, 2, Some(0)));
        for (block, length, acknowledged, done) in [
            (1, 10, None, false),
            (2, 10, Some(2), false),
            (4, 10, Some(2), false),
            (5, 10, None, false),
            (4, 10, Some(2), false),
            (3, 10, None, false),
            (2, 10, Some(3), false),
            (4, 10, None, false),
            (5, 0, Some(5), true),
        ] {
            transfer.take(&data(block, length), Instant::now()).expect("data");
            assert_eq!((transfer.acknowledge.take(), transfer.is_done), (acknowledged, done), "block {block}");
        }
        assert_eq!(transfer.download.bytes, 40);
        assert!(transfer.take(b"\0\x05\0\x01no such file\0", Instant::now()).is_err());
    }

    #[test]
    fn a_server_without_options_sends_data_at_once() {
        let transfer = Transfer::begin(&data(1, 512)).expect("data");
        assert_eq!((transfer.acknowledge, transfer.download.bytes), (Some(1), 512));
    }
}
