//! One exchange with the boot server over TCP, bounded in time and size.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::{Ask, BaseUrl, HEAD_LIMIT, Head, HeadError, request};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A server that sends nothing for so long is taken for gone.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(15);

/// How to reach the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Name of the interface that found it; `None`: whichever the kernel's routes name.
    pub interface: Option<String>,
    /// The server's base URL.
    pub base: BaseUrl,
}

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The connection could not be made, or broke.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The answer is not HTTP that we read.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The head or body is longer than allowed.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

/// A connection whose response head was read; the body follows through [`Read`].
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    head: Head,
    /// Body bytes that came together with the head.
    early: Vec<u8>,
    /// Body bytes still to come, where the head says how many.
    left: Option<u64>,
}

impl Connection {
    /// Sends a request and reads the head of its answer.
    ///
    /// # Errors
    /// If the server cannot be reached, falls silent or answers with something else than HTTP.
    pub fn open(route: &Route, ask: Ask<'_>, path: &str) -> Result<Self, FetchError> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        // Two cards may both lead somewhere: use the one that the server answered on.
        socket.bind_device(route.interface.as_deref().map(str::as_bytes))?;
        socket.connect_timeout(&SocketAddr::from(route.base.server()).into(), CONNECT_TIMEOUT)?;
        Self::exchange(socket.into(), &request(ask, &route.base, path))
    }

    /// Sends `message` over a fresh stream and reads the head of the answer.
    fn exchange(mut stream: TcpStream, message: &[u8]) -> Result<Self, FetchError> {
        stream.set_read_timeout(Some(SILENCE_TIMEOUT))?;
        stream.set_write_timeout(Some(SILENCE_TIMEOUT))?;
        stream.write_all(message)?;
        let mut bytes = Vec::new();
        let mut buffer = [0; 2048];
        loop {
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
            bytes.extend_from_slice(&buffer[..count]);
            if let Some((head, used)) = Head::parse(&bytes)? {
                let early = bytes.split_off(used);
                return Ok(Self { stream, head, early, left: head.content_length });
            }
            if bytes.len() > HEAD_LIMIT {
                return Err(FetchError::TooLong(HEAD_LIMIT));
            }
        }
    }

    /// The response's head.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// The whole body, if it is not longer than `limit`.
    fn body(mut self, limit: usize) -> Result<Vec<u8>, FetchError> {
        let mut body = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let count = self.read(&mut buffer)?;
            if count == 0 {
                return Ok(body);
            }
            if body.len() + count > limit {
                return Err(FetchError::TooLong(limit));
            }
            body.extend_from_slice(&buffer[..count]);
        }
    }
}

impl Read for Connection {
    /// An end before `Content-Length` is an error, not an end.
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == Some(0) || buffer.is_empty() {
            return Ok(0);
        }
        let wanted =
            self.left.map_or(buffer.len(), |left| usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len()));
        let buffer = &mut buffer[..wanted];
        let count = if self.early.is_empty() {
            self.stream.read(buffer)?
        } else {
            let count = wanted.min(self.early.len());
            buffer[..count].copy_from_slice(&self.early[..count]);
            self.early.drain(..count);
            count
        };
        if let Some(left) = &mut self.left {
            if count == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            *left -= count as u64;
        }
        Ok(count)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Says to the server that we will not read on; nothing can be done if that fails.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// Fetches a small document: status and body of at most `limit` bytes.
///
/// # Errors
/// As [`Connection::open`], or if the body is too long.
pub fn get(route: &Route, path: &str, limit: usize) -> Result<(u16, Vec<u8>), FetchError> {
    let connection = Connection::open(route, Ask::Get, path)?;
    let status = connection.head().status;
    Ok((status, connection.body(limit)?))
}

/// Sends a small document; the status of the answer.
///
/// # Errors
/// As [`Connection::open`].
pub fn post(route: &Route, path: &str, body: &[u8]) -> Result<u16, FetchError> {
    Connection::open(route, Ask::Post(body), path).map(|connection| connection.head().status)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A connection to a server on loopback that sends `answer` and closes.
    fn answered(answer: Vec<u8>) -> Result<Connection, FetchError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 64];
            let count = stream.read(&mut request).unwrap();
            // The client may hang up early on purpose.
            let _ = stream.write_all(&answer);
            request[..count].to_vec()
        });
        let connection = Connection::exchange(TcpStream::connect(address).unwrap(), b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(server.join().unwrap(), b"GET / HTTP/1.1\r\n\r\n");
        connection
    }

    #[test]
    fn body_by_length_and_by_end_of_connection() {
        let connection = answered(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more".to_vec()).unwrap();
        assert_eq!(connection.body(100).unwrap(), b"hello");
        let connection = answered(b"HTTP/1.0 200 OK\r\n\r\nhello".to_vec()).unwrap();
        assert_eq!(connection.body(100).unwrap(), b"hello");
    }

    #[test]
    fn a_broken_body_is_an_error() {
        let connection = answered(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello".to_vec()).unwrap();
        assert!(
            matches!(connection.body(100), Err(FetchError::Io(e)) if e.kind() == std::io::ErrorKind::UnexpectedEof)
        );
    }

    #[test]
    fn sizes_are_bounded() {
        let long = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 101]].concat();
        assert!(matches!(answered(long).unwrap().body(100), Err(FetchError::TooLong(100))));
        let endless = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: y\r\n".repeat(4000)].concat();
        assert!(matches!(answered(endless), Err(FetchError::TooLong(HEAD_LIMIT))));
        assert!(matches!(answered(Vec::new()), Err(FetchError::Io(_))));
    }
}
