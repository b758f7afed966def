//! Request and response heads (RFC 9112), without sockets.

use super::BaseUrl;

/// A response head may not be longer.
pub const HEAD_LIMIT: usize = 8 * 1024;

/// What a response's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// `Content-Length`; absent where the end of the connection is the end of the body.
    pub content_length: Option<u64>,
    /// First byte and total size of `Content-Range: bytes FIRST-LAST/TOTAL`.
    pub content_range: Option<(u64, u64)>,
}

/// Why a response cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Does not begin with an HTTP/1 status line.
    #[error("the answer is not HTTP/1")]
    Status,
    /// A header line is malformed.
    #[error("the answer has a malformed header")]
    Header,
    /// The body comes in a coding that a boot server never uses.
    #[error("the answer has a transfer coding")]
    TransferCoding,
}

impl Head {
    /// Parses a head, if `bytes` hold it whole: it and how many bytes it took.
    ///
    /// # Errors
    /// If the bytes can never become a head that we read.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeadError> {
        const END: &[u8] = b"\r\n\r\n";
        let Some(end) = bytes.windows(END.len()).position(|window| window == END) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes[..end]).map_err(|_| HeadError::Header)?;
        let mut lines = text.split("\r\n");
        let mut head = Self {
            status: status(lines.next().unwrap_or_default()).ok_or(HeadError::Status)?,
            content_length: None,
            content_range: None,
        };
        for line in lines {
            let (name, value) = line.split_once(':').ok_or(HeadError::Header)?;
            head.read(name, value.trim())?;
        }
        Ok(Some((head, end + END.len())))
    }

    fn read(&mut self, name: &str, value: &str) -> Result<(), HeadError> {
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                let length = number(value).ok_or(HeadError::Header)?;
                if self.content_length.is_some_and(|other| other != length) {
                    return Err(HeadError::Header);
                }
                self.content_length = Some(length);
            }
            "content-range" => {
                self.content_range = range(value);
            }
            "transfer-encoding" => return Err(HeadError::TransferCoding),
            _ => {}
        }
        Ok(())
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Ask<'a> {
    /// A document.
    Get,
    /// A file with this SHA-256 digest (in hex) and no other, from this byte on (RFC 9110, 13.1.1 and 14.2).
    File {
        /// Bytes that are there already.
        offset: u64,
        /// The digest, which our servers use as its entity tag.
        sha256: &'a str,
    },
    /// That this JSON is taken.
    Post(&'a [u8]),
}

/// A request's head and body.
#[must_use]
pub fn request(ask: Ask<'_>, base: &BaseUrl, path: &str) -> Vec<u8> {
    let method = if let Ask::Post(_) = ask { "POST" } else { "GET" };
    let mut text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: meadow-init/{}\r\nConnection: close\r\n",
        base.server(),
        env!("CARGO_PKG_VERSION"),
    );
    let body = match ask {
        Ask::Get => &[][..],
        Ask::File { offset, sha256 } => {
            text.push_str(&format!("If-Match: \"{sha256}\"\r\n"));
            if offset > 0 {
                text.push_str(&format!("Range: bytes={offset}-\r\n"));
            }
            &[]
        }
        Ask::Post(body) => {
            text.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
            body
        }
    };
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

fn status(line: &str) -> Option<u16> {
    let rest = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "))?;
    let code = rest.split(' ').next()?;
    (code.len() == 3).then_some(())?;
    code.parse().ok().filter(|code| (100..600).contains(code))
}

/// Digits only: `u64::from_str` would also take a plus sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn range(value: &str) -> Option<(u64, u64)> {
    let (span, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = span.split_once('-')?;
    let (first, last, total) = (number(first)?, number(last)?, number(total)?);
    (first <= last && last < total).then_some((first, total))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Result<Option<(Head, usize)>, HeadError> {
        Head::parse(text.as_bytes())
    }

    #[test]
    fn reads_length_and_range_whatever_the_case() {
        let text =
            "HTTP/1.1 206 Partial Content\r\ncontent-LENGTH: 6\r\nContent-Range: bytes 4-9/10\r\nX: y\r\n\r\nbody";
        let (head, used) = parsed(text).unwrap().unwrap();
        assert_eq!(head, Head { status: 206, content_length: Some(6), content_range: Some((4, 10)) });
        assert_eq!(&text[used..], "body");
    }

    #[test]
    fn waits_for_the_rest() {
        assert_eq!(parsed("HTTP/1.1 200 OK\r\nContent-Le"), Ok(None));
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        for (text, expected) in [
            ("SSH-2.0-x\r\n\r\n", HeadError::Status),
            ("HTTP/1.1 2000 OK\r\n\r\n", HeadError::Status),
            ("HTTP/1.1 +20 OK\r\n\r\n", HeadError::Status),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", HeadError::Header),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", HeadError::Header),
            ("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", HeadError::Header),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HeadError::TransferCoding),
        ] {
            assert_eq!(parsed(text), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn requests_are_plain_http() {
        let base = BaseUrl::parse("http://192.0.2.2:7480/").unwrap();
        let said = |ask| String::from_utf8(request(ask, &base, "/x")).unwrap();
        let text = said(Ask::File { offset: 10, sha256: "00ff" });
        assert!(text.starts_with("GET /x HTTP/1.1\r\nHost: 192.0.2.2:7480\r\n"));
        assert!(text.contains("\r\nRange: bytes=10-\r\n") && text.contains("\r\nIf-Match: \"00ff\"\r\n"));
        assert!(text.ends_with("\r\n\r\n"));
        assert!(!said(Ask::File { offset: 0, sha256: "00ff" }).contains("Range"));
        let text = said(Ask::Post(b"{}"));
        assert!(text.starts_with("POST /x ") && !text.contains("Range"));
        assert!(text.ends_with("Content-Length: 2\r\n\r\n{}"));
        assert!(said(Ask::Get).ends_with("Connection: close\r\n\r\n"));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Head::parse(&bytes);
        }

        #[test]
        fn never_panics_on_headers(value in "[ -~]{0,40}", name in "(Content-Length|Content-Range|X)") {
            let _ = parsed(&format!("HTTP/1.1 200 OK\r\n{name}: {value}\r\n\r\n"));
        }
    }
}
