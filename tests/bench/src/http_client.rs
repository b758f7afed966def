//! An HTTP client that is not the bottleneck: the kernel throws the body away (MSG_TRUNC) instead of copying it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::socket::{MsgFlags, recv};
use socket2::{Domain, Socket, Type};

/// How long a server may be silent; the machine may be busy.
const SILENCE: Duration = Duration::from_secs(10);
/// What is thrown away by one call.
const AT_ONCE: usize = 1 << 20;
/// Heads are never longer.
const MAX_HEAD: usize = 1 << 13;

/// A connection that is kept for several requests.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    server: SocketAddr,
    nowhere: Vec<u8>,
}

impl Connection {
    /// Connects from the address `own`.
    ///
    /// # Errors
    /// When the server does not listen.
    pub(crate) fn open(own: Ipv4Addr, server: SocketAddr) -> Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((own, 0)).into()).with_context(|| format!("cannot send from {own}"))?;
        socket.connect(&server.into()).with_context(|| format!("no HTTP server at {server}"))?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(SILENCE))?;
        Ok(Self { stream, server, nowhere: vec![0; AT_ONCE] })
    }

    /// Asks for `path` with `method`; gives the length of the body, which was received if it was GET.
    ///
    /// # Errors
    /// When the server refuses or breaks off.
    pub(crate) fn ask(&mut self, method: &str, path: &str) -> Result<u64> {
        write!(self.stream, "{method} {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.server)?;
        let mut received = Vec::new();
        let head = loop {
            let mut part = [0; 4096];
            match self.stream.read(&mut part)? {
                0 => bail!("the server closed the connection"),
                length => received.extend_from_slice(part.get(..length).unwrap_or_default()),
            }
            if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            ensure!(received.len() < MAX_HEAD, "the server's head has no end");
        };
        let text = String::from_utf8_lossy(received.get(..head).unwrap_or_default()).to_lowercase();
        ensure!(text.starts_with("http/1.1 200 "), "the server answers: {text}");
        let length: u64 =
            text.lines().find_map(|line| line.strip_prefix("content-length: ")).context("no length")?.parse()?;
        let mut left = u64::from(method == "GET") * length;
        left = left.checked_sub(u64::try_from(received.len() - head)?).context("more than the body came")?;
        while left > 0 {
            let room = usize::try_from(left)?.min(AT_ONCE);
            let part = self.nowhere.get_mut(..room).unwrap_or_default();
            match recv(self.stream.as_raw_fd(), part, MsgFlags::MSG_TRUNC)? {
                0 => bail!("the server broke off"),
                length => left -= u64::try_from(length)?,
            }
        }
        Ok(length)
    }
}
