//! Request heads.

use std::fmt;

use super::range::RangeRequest;

/// Longest request head that is accepted, in bytes.
pub const MAX_HEAD: usize = 8192;

/// Request methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD: UEFI asks it first, for the length.
    Head,
    /// POST.
    Post,
    /// Any other method: answered with 405.
    Other,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Other => "another method,",
        })
    }
}

/// A parsed request head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// Method.
    pub method: Method,
    /// Path, without scheme and host if the target was absolute, and without its query.
    pub path: String,
    /// Whether the connection may carry another request.
    pub keep_alive: bool,
    /// Whether it is of HTTP/1.1, so that `Host` must be there.
    needs_host: bool,
    /// Header `Range`, if it is one that we understand.
    pub range: Option<RangeRequest>,
    /// Header `If-Range`: the range holds only for this entity tag.
    pub if_range: Option<String>,
    /// Header `If-Match`: only a file with one of these entity tags is wanted.
    pub if_match: Option<String>,
    /// Header `If-None-Match`.
    pub if_none_match: Option<String>,
    /// Length of the body that follows, 0 if there is none.
    pub content_length: u64,
    /// Whether the client waits for `100 Continue` before it sends its body.
    pub expects_continue: bool,
}

/// Why a request head is refused; the connection is to be closed after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// 400.
    #[error("malformed request")]
    Malformed,
    /// 431.
    #[error("request head longer than 8192 bytes")]
    TooLong,
    /// 411: bodies need a length here.
    #[error("a body needs Content-Length here")]
    LengthRequired,
    /// 505.
    #[error("only HTTP/1.0 and 1.1 are spoken here")]
    Version,
}

impl HeadError {
    /// Status code of the answer.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::TooLong => 431,
            Self::LengthRequired => 411,
            Self::Version => 505,
        }
    }
}

/// Headers that are counted.
#[derive(Default)]
struct Seen {
    has_length: bool,
    has_close: bool,
    hosts: usize,
}

/// Result of looking at the bytes received so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// The head is not complete yet.
    Incomplete,
    /// The head, and how many bytes it took.
    Complete(RequestHead, usize),
}

impl RequestHead {
    /// Parses what a connection has received so far. Never panics, whatever the bytes.
    ///
    /// # Errors
    /// When the bytes cannot become a request that is served here.
    pub fn parse(received: &[u8]) -> Result<Parsed, HeadError> {
        let window = &received[..received.len().min(MAX_HEAD)];
        let Some(length) = find_end(window) else {
            return if received.len() >= MAX_HEAD { Err(HeadError::TooLong) } else { Ok(Parsed::Incomplete) };
        };
        let text = std::str::from_utf8(&received[..length]).map_err(|_| HeadError::Malformed)?;
        let mut lines = text.split("\r\n");
        let mut head = parse_request_line(lines.next().unwrap_or_default())?;
        let mut seen = Seen::default();
        for line in lines.take_while(|line| !line.is_empty()) {
            head.read_header(line, &mut seen)?;
        }
        // RFC 9112, 3.2: one, and since HTTP/1.1 always.
        if seen.hosts > 1 || (seen.hosts == 0 && head.needs_host) {
            return Err(HeadError::Malformed);
        }
        Ok(Parsed::Complete(head, length))
    }

    fn read_header(&mut self, line: &str, seen: &mut Seen) -> Result<(), HeadError> {
        let (name, value) = line.split_once(':').ok_or(HeadError::Malformed)?;
        // White space around the name is how requests are smuggled (RFC 9112, 5.1).
        if name.is_empty() || !name.bytes().all(is_token) || value.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
            return Err(HeadError::Malformed);
        }
        let value = value.trim_matches([' ', '\t']);
        match name.to_ascii_lowercase().as_str() {
            "connection" => {
                for option in value.split(',').map(str::trim) {
                    if option.eq_ignore_ascii_case("close") {
                        seen.has_close = true;
                    } else if option.eq_ignore_ascii_case("keep-alive") {
                        self.keep_alive = true;
                    }
                }
                // It wins in whichever order (RFC 9112, 9.3).
                self.keep_alive &= !seen.has_close;
            }
            "host" => seen.hosts += 1,
            "range" => self.range = RangeRequest::parse(value),
            "if-range" => self.if_range = Some(value.to_owned()),
            "if-match" => self.if_match = Some(value.to_owned()),
            "if-none-match" => self.if_none_match = Some(value.to_owned()),
            "expect" => self.expects_continue = value.eq_ignore_ascii_case("100-continue"),
            "transfer-encoding" => return Err(HeadError::LengthRequired),
            "content-length" => {
                let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
                let length = value.parse().ok().filter(|_| digits).ok_or(HeadError::Malformed)?;
                if seen.has_length && self.content_length != length {
                    return Err(HeadError::Malformed);
                }
                seen.has_length = true;
                self.content_length = length;
            }
            _ => {}
        }
        Ok(())
    }
}

fn parse_request_line(line: &str) -> Result<RequestHead, HeadError> {
    let mut parts = line.split(' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(HeadError::Malformed);
    };
    if method.is_empty() || !method.bytes().all(is_token) {
        return Err(HeadError::Malformed);
    }
    let needs_host = match version {
        "HTTP/1.1" => true,
        "HTTP/1.0" => false,
        _ if version.starts_with("HTTP/") => return Err(HeadError::Version),
        _ => return Err(HeadError::Malformed),
    };
    Ok(RequestHead {
        method: match method {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            _ => Method::Other,
        },
        path: path_of(target)?,
        keep_alive: needs_host,
        needs_host,
        range: None,
        if_range: None,
        if_match: None,
        if_none_match: None,
        content_length: 0,
        expects_continue: false,
    })
}

/// The path of a request target in origin form or absolute form (RFC 9112, 3.2).
fn path_of(target: &str) -> Result<String, HeadError> {
    if !target.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(HeadError::Malformed);
    }
    let path = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if path.starts_with('/') { Ok(path.to_owned()) } else { Err(HeadError::Malformed) }
}

fn find_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

/// Characters of a token (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn complete(text: &str) -> RequestHead {
        match RequestHead::parse(text.as_bytes()) {
            Ok(Parsed::Complete(head, length)) if length == text.len() => head,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_requests_of_real_clients() {
        // EDK2 (HttpBootDxe), iPXE and curl.
        let head = complete(
            "HEAD /artifacts/ipxe/ipxe.efi HTTP/1.1\r\nHost: 192.0.2.2:7480\r\nAccept: */*\r\n\
             User-Agent: UefiHttpBoot/1.0\r\n\r\n",
        );
        assert_eq!(
            (head.method, head.path.as_str(), head.keep_alive),
            (Method::Head, "/artifacts/ipxe/ipxe.efi", true)
        );
        let head = complete(
            "GET /artifacts/vmlinuz HTTP/1.1\r\nConnection: keep-alive\r\nUser-Agent: iPXE/1.0.0+\r\nHost: x\r\n\
             Range: bytes=0-4095\r\n\r\n",
        );
        assert_eq!(head.range, Some(RangeRequest::FromTo(0, 4095)));
        let head = complete("GET http://192.0.2.2:7480/a?b HTTP/1.0\r\n\r\n");
        assert_eq!((head.path.as_str(), head.keep_alive), ("/a", false));
        let head = complete("POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\n");
        assert_eq!((head.content_length, head.expects_continue), (12, true));
    }

    #[test]
    fn who_says_close_in_whatever_order_is_closed() {
        for (version, header, wanted) in [
            ("1.1", "Connection: close, keep-alive", false),
            ("1.1", "Connection: keep-alive, close", false),
            ("1.1", "Connection: close\r\nConnection: keep-alive", false),
            ("1.0", "Connection: close, keep-alive", false),
            ("1.0", "Connection: Keep-Alive", true),
        ] {
            let head = complete(&format!("GET / HTTP/{version}\r\nHost: x\r\n{header}\r\n\r\n"));
            assert_eq!(head.keep_alive, wanted, "{version} {header}");
        }
    }

    #[test]
    fn waits_for_the_rest() {
        assert_eq!(RequestHead::parse(b""), Ok(Parsed::Incomplete));
        assert_eq!(RequestHead::parse(b"GET / HTTP/1.1\r\nHost: x\r\n"), Ok(Parsed::Incomplete));
    }

    #[test]
    fn refuses_hostile_heads() {
        for (text, error) in [
            ("GET / HTTP/2.0\r\n\r\n", HeadError::Version),
            ("GET /\r\n\r\n", HeadError::Malformed),
            ("GET  / HTTP/1.1\r\n\r\n", HeadError::Malformed),
            ("GET x HTTP/1.1\r\n\r\n", HeadError::Malformed),
            ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", HeadError::Malformed),
            ("GET / HTTP/1.1\r\nAccept: */*\r\n\r\n", HeadError::Malformed),
            ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", HeadError::Malformed),
            ("GET / HTTP/1.1\r\nno colon\r\n\r\n", HeadError::Malformed),
            ("GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", HeadError::Malformed),
            ("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", HeadError::Malformed),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", HeadError::LengthRequired),
        ] {
            assert_eq!(RequestHead::parse(text.as_bytes()), Err(error), "{text:?}");
        }
        assert_eq!(RequestHead::parse(&vec![b'a'; MAX_HEAD]), Err(HeadError::TooLong));
    }

    proptest! {
        #[test]
        fn never_panics_on_near_requests(text in "(GET|POST) /[a-z/]{0,9} HTTP/1.[01]\r\n([A-Za-z-]{1,16}:[ -~]{0,20}\r\n){0,4}\r\n") {
            let _ = RequestHead::parse(text.as_bytes());
        }
    }
}
