//! Many downloads at once, over HTTP and TFTP.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use meadow_rack::namespace::Namespace;
use meadow_rack::wait;
use socket2::{Domain, Socket, Type};

/// Port of the boot server for HTTP.
const HTTP: u16 = 7480;
/// Port of a TFTP server.
const TFTP: u16 = 69;
/// How long a server may be silent; the machine may be busy.
const SILENCE: Duration = Duration::from_secs(10);
/// What the TFTP clients ask for, as iPXE and recent firmware do; a server may know less.
const BLOCK: usize = 1428;
const WINDOW: u16 = 16;
/// RFC 1350 and 2347.
const DATA: u16 = 3;
const ACK: u16 = 4;
const OACK: u16 = 6;

/// Waits until the boot server serves the artifact `name`.
///
/// # Errors
/// When it does not within a minute.
pub(crate) fn wait_served(namespace: &Namespace, server: Ipv4Addr, name: &str) -> Result<()> {
    let answers = || in_namespace(namespace, || Ok(http(Ipv4Addr::UNSPECIFIED, server, name, "HEAD").ok().map(drop)));
    wait::until(&format!("the boot server with {name}"), Duration::from_secs(60), answers)
}

/// Clients with an address each, as machines have: a server may limit what one address gets.
#[derive(Debug)]
pub(crate) struct Clients {
    namespace: Namespace,
    addresses: Vec<Ipv4Addr>,
}

impl Clients {
    /// Gives `addresses` to the interface of `namespace`.
    ///
    /// # Errors
    /// When one cannot be added.
    pub(crate) fn create(namespace: Namespace, addresses: Vec<Ipv4Addr>) -> Result<Self> {
        for address in &addresses {
            namespace.ip(&["addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
        }
        Ok(Self { namespace, addresses })
    }

    /// How many they are.
    pub(crate) fn count(&self) -> usize {
        self.addresses.len()
    }

    /// All download the artifact `name` at once over HTTP; gives the bytes of all.
    ///
    /// # Errors
    /// When one fails.
    pub(crate) fn over_http(&self, server: Ipv4Addr, name: &str) -> Result<u64> {
        self.at_once(|own| http(own, server, name, "GET"))
    }

    /// The same over TFTP.
    ///
    /// # Errors
    /// When one fails.
    pub(crate) fn over_tftp(&self, server: Ipv4Addr, name: &str) -> Result<u64> {
        self.at_once(|own| tftp(own, server, name))
    }

    fn at_once(&self, client: impl Fn(Ipv4Addr) -> Result<u64> + Sync) -> Result<u64> {
        let client = &client;
        thread::scope(|scope| {
            let start = |own: &Ipv4Addr| {
                let own = *own;
                scope.spawn(move || in_namespace(&self.namespace, || client(own)))
            };
            let threads: Vec<_> = self.addresses.iter().map(start).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a client panicked"))).sum()
        })
    }
}

/// Runs `work` on a thread in `namespace`.
fn in_namespace<T: Send>(namespace: &Namespace, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            namespace.enter()?;
            work()
        });
        thread.join().unwrap_or_else(|_| bail!("a client panicked"))
    })
}

fn http(own: Ipv4Addr, server: Ipv4Addr, name: &str, method: &str) -> Result<u64> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((own, 0)).into()).with_context(|| format!("cannot send from {own}"))?;
    socket.connect(&SocketAddr::from((server, HTTP)).into()).context("no connection to the boot server")?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(SILENCE))?;
    write!(stream, "{method} /artifacts/{name} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n")?;
    let mut buffer = vec![0; 1 << 16];
    let first = stream.read(&mut buffer)?;
    let answer = buffer.get(..first).unwrap_or_default();
    ensure!(answer.starts_with(b"HTTP/1.1 200 "), "the boot server answers: {}", String::from_utf8_lossy(answer));
    let mut received = u64::try_from(first)?;
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(received),
            more => received += u64::try_from(more)?,
        }
    }
}

/// One TFTP download (RFC 1350, options 2347, 2348, 7440).
fn tftp(own: Ipv4Addr, server: Ipv4Addr, name: &str) -> Result<u64> {
    let socket = UdpSocket::bind((own, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let request = format!("\0\u{1}{name}\0octet\0blksize\0{BLOCK}\0windowsize\0{WINDOW}\0");
    let mut buffer = [0; 2048];
    let (length, peer) = ask(&socket, SocketAddr::from((server, TFTP)), request.as_bytes(), &mut buffer)?;
    socket.connect(peer)?;
    let mut transfer = Transfer::begin(buffer.get(..length).unwrap_or_default())?;
    let mut silent = Duration::ZERO;
    loop {
        if let Some(block) = transfer.acknowledge.take() {
            let [high, low] = block.to_be_bytes();
            socket.send(&[0, ACK.to_be_bytes()[1], high, low])?;
        }
        if transfer.is_done {
            return Ok(transfer.received);
        }
        match socket.recv(&mut buffer) {
            Ok(length) => {
                silent = Duration::ZERO;
                transfer.take(buffer.get(..length).unwrap_or_default())?;
            }
            Err(_) if silent < SILENCE => {
                silent += Duration::from_secs(1);
                transfer.acknowledge = Some(transfer.last);
            }
            Err(error) => return Err(error).with_context(|| format!("no more of {name}")),
        }
    }
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

/// The receiving side of one TFTP download.
#[derive(Debug)]
struct Transfer {
    block_size: usize,
    window: u16,
    /// The last block that came in order.
    last: u16,
    in_window: u16,
    received: u64,
    acknowledge: Option<u16>,
    is_done: bool,
}

impl Transfer {
    /// From the first answer: an option acknowledgement, or already data where the server knows no options.
    fn begin(packet: &[u8]) -> Result<Self> {
        let mut transfer =
            Self { block_size: 512, window: 1, last: 0, in_window: 0, received: 0, acknowledge: None, is_done: false };
        if opcode(packet) != Some(OACK) {
            transfer.take(packet)?;
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
    fn take(&mut self, packet: &[u8]) -> Result<()> {
        let (Some(DATA), Some(data)) = (opcode(packet), packet.get(4..)) else {
            bail!("the server answers: {}", String::from_utf8_lossy(packet.get(4..).unwrap_or_default()));
        };
        if packet.get(2..4) != Some(&self.last.wrapping_add(1).to_be_bytes()) {
            // A gap: what was received is acknowledged, and the server goes on from there.
            self.in_window = 0;
            self.acknowledge = Some(self.last);
            return Ok(());
        }
        self.last = self.last.wrapping_add(1);
        self.in_window += 1;
        self.received += u64::try_from(data.len())?;
        self.is_done = data.len() < self.block_size;
        if self.is_done || self.in_window >= self.window {
            self.in_window = 0;
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
            (3, 10, None, false),
            (4, 0, Some(4), true),
        ] {
            transfer.take(&data(block, length)).expect("data");
            assert_eq!((transfer.acknowledge.take(), transfer.is_done), (acknowledged, done), "block {block}");
        }
        assert_eq!(transfer.received, 30);
        assert!(transfer.take(b"\0\x05\0\x01no such file\0").is_err());
    }

    #[test]
    fn a_server_without_options_sends_data_at_once() {
        let transfer = Transfer::begin(&data(1, 512)).expect("data");
        assert_eq!((transfer.acknowledge, transfer.received), (Some(1), 512));
    }
}
