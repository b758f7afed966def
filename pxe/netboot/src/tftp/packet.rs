//! TFTP packets.

use crate::event::printable;
use crate::route::is_artifact_name;

pub(super) const OPCODE_READ: u16 = 1;
pub(super) const OPCODE_WRITE: u16 = 2;
pub(super) const OPCODE_DATA: u16 = 3;
pub(super) const OPCODE_ACK: u16 = 4;
pub(super) const OPCODE_ERROR: u16 = 5;
pub(super) const OPCODE_OACK: u16 = 6;

/// Requests are never longer; RFC 1350 sets no bound, RFC 2347 says 512 bytes.
const MAX_REQUEST: usize = 512;

/// Longest timeout that is taken from a client, in seconds (RFC 2349 allows 255).
const MAX_TIMEOUT: u8 = 10;

/// Error codes (RFC 1350, 5; RFC 2347).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// 0, see the text.
    Undefined = 0,
    /// 1, file not found.
    NotFound = 1,
    /// 2, access violation.
    AccessViolation = 2,
    /// 4, illegal operation.
    IllegalOperation = 4,
}

/// Encodes an ERROR packet; the text is cut to 200 bytes.
#[must_use]
pub fn error_packet(code: ErrorCode, text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(5 + text.len().min(200));
    bytes.extend_from_slice(&OPCODE_ERROR.to_be_bytes());
    bytes.extend_from_slice(&(code as u16).to_be_bytes());
    bytes.extend(text.bytes().take(200).filter(|&b| b != 0));
    bytes.push(0);
    bytes
}

/// The first four bytes of a DATA packet.
#[must_use]
pub fn data_header(block: u16) -> [u8; 4] {
    let [opcode_high, opcode_low] = OPCODE_DATA.to_be_bytes();
    let [high, low] = block.to_be_bytes();
    [opcode_high, opcode_low, high, low]
}

/// Acknowledges the options that were asked for, and only those; `None` if there were none.
pub(super) fn encode_option_ack(
    options: RequestedOptions,
    block_size: Option<u16>,
    window: Option<u16>,
    size: u64,
) -> Option<Vec<u8>> {
    let mut bytes = OPCODE_OACK.to_be_bytes().to_vec();
    let mut add = |name: &str, value: Option<u64>| {
        if let Some(value) = value {
            bytes.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
        }
    };
    add("blksize", block_size.map(u64::from));
    add("windowsize", window.map(u64::from));
    add("timeout", options.timeout.map(u64::from));
    add("tsize", options.size.then_some(size));
    (bytes.len() > 2).then_some(bytes)
}

/// Options as the client asked for them; only those may be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestedOptions {
    /// `blksize` (RFC 2348), 8 to 65464.
    pub block_size: Option<u16>,
    /// `windowsize` (RFC 7440), 1 to 65535.
    pub window: Option<u16>,
    /// `timeout` in seconds (RFC 2349), 1 to 10.
    pub timeout: Option<u8>,
    /// `tsize` was there (RFC 2349).
    pub size: bool,
}

/// A read request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRequest {
    /// Artifact name: without leading slashes, backslashes turned, doubled slashes removed.
    pub name: String,
    /// Its options.
    pub options: RequestedOptions,
}

/// Why a packet on port 69 is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not even answered: no TFTP request at all.
    #[error("not a TFTP request")]
    Malformed,
    /// A write request.
    #[error("this server is read-only")]
    Write,
    /// Mode `netascii` or `mail` would damage binary files.
    #[error("only mode octet is served (tftp's command `binary`)")]
    Mode,
    /// A name that leaves the served folder or holds odd characters.
    #[error("no such file: {0}")]
    Name(String),
}

impl RequestError {
    /// The answer for the client, if it deserves one.
    #[must_use]
    pub fn packet(&self) -> Option<Vec<u8>> {
        let code = match self {
            Self::Malformed => return None,
            Self::Write => ErrorCode::AccessViolation,
            Self::Mode => ErrorCode::IllegalOperation,
            Self::Name(_) => ErrorCode::NotFound,
        };
        Some(error_packet(code, &self.to_string()))
    }
}

impl ReadRequest {
    /// Parses a datagram that came to port 69. Never panics, whatever the bytes.
    ///
    /// # Errors
    /// When it is not a read request in mode octet for a possible name.
    pub fn parse(datagram: &[u8]) -> Result<Self, RequestError> {
        let (opcode, mut rest) = datagram.split_first_chunk::<2>().ok_or(RequestError::Malformed)?;
        if datagram.len() > MAX_REQUEST {
            return Err(RequestError::Malformed);
        }
        match u16::from_be_bytes(*opcode) {
            OPCODE_READ => {}
            OPCODE_WRITE => return Err(RequestError::Write),
            _ => return Err(RequestError::Malformed),
        }
        let name = take_string(&mut rest).ok_or(RequestError::Malformed)?;
        let mode = take_string(&mut rest).ok_or(RequestError::Malformed)?;
        if !mode.eq_ignore_ascii_case(b"octet") {
            return Err(RequestError::Mode);
        }
        let mut options = RequestedOptions::default();
        while let (Some(name), Some(value)) = (take_string(&mut rest), take_string(&mut rest)) {
            options.read(name, value);
        }
        Ok(Self { name: clean_name(name)?, options })
    }
}

impl RequestedOptions {
    /// Unknown options and impossible values are left out, so they are not acknowledged either.
    fn read(&mut self, name: &[u8], value: &[u8]) {
        let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
        let Some(number) = number else { return };
        if name.eq_ignore_ascii_case(b"blksize") {
            self.block_size = u16::try_from(number).ok().filter(|size| (8..=65464).contains(size));
        } else if name.eq_ignore_ascii_case(b"windowsize") {
            self.window = u16::try_from(number).ok().filter(|&size| size > 0);
        } else if name.eq_ignore_ascii_case(b"timeout") {
            // A longer one would hold a place for a client that has gone; not acknowledged, it is not in force.
            self.timeout = u8::try_from(number).ok().filter(|seconds| (1..=MAX_TIMEOUT).contains(seconds));
        } else if name.eq_ignore_ascii_case(b"tsize") {
            self.size = true;
        }
    }
}

/// Takes a NUL-terminated string off the front.
fn take_string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|&b| b == 0)?;
    let (string, tail) = rest.split_at(end);
    *rest = &tail[1..];
    Some(string)
}

/// Firmware writes names with leading, doubled or turned slashes, and some ends them with 0xFF.
fn clean_name(raw: &[u8]) -> Result<String, RequestError> {
    let refuse = || RequestError::Name(printable(raw, 80));
    let trimmed = raw.strip_suffix(b"\xff").unwrap_or(raw);
    let text = std::str::from_utf8(trimmed).map_err(|_| refuse())?.replace('\\', "/");
    let steps: Vec<_> = text.split('/').filter(|step| !step.is_empty()).collect();
    let name = steps.join("/");
    if is_artifact_name(&name) { Ok(name) } else { Err(refuse()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rrq(strings: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0, 1];
        for string in strings {
            bytes.extend_from_slice(string);
            bytes.push(0);
        }
        bytes
    }

    #[test]
    fn reads_requests_as_firmware_writes_them() {
        // EDK2's second request, and names as other boot ROMs spell them.
        let edk2 = rrq(&[b"ipxe/snponly.efi", b"octet", b"tsize", b"0", b"blksize", b"1468", b"windowsize", b"4"]);
        let request = ReadRequest::parse(&edk2).unwrap();
        assert_eq!(request.name, "ipxe/snponly.efi");
        let wanted = RequestedOptions { block_size: Some(1468), window: Some(4), timeout: None, size: true };
        assert_eq!(request.options, wanted);
        for name in [&b"/ipxe/a"[..], b"//ipxe//a", b"\\ipxe\\a", b"ipxe/a\xff"] {
            assert_eq!(ReadRequest::parse(&rrq(&[name, b"OCTET"])).unwrap().name, "ipxe/a");
        }
    }

    #[test]
    fn refuses_with_a_reason() {
        assert_eq!(ReadRequest::parse(b"\0\x02a\0octet\0"), Err(RequestError::Write));
        assert_eq!(ReadRequest::parse(&rrq(&[b"a", b"netascii"])), Err(RequestError::Mode));
        for name in [&b"../etc/passwd"[..], b"ipxe/../../x", b"..\\x", b"", b"a b", b"/"] {
            let parsed = ReadRequest::parse(&rrq(&[name, b"octet"]));
            assert!(matches!(parsed, Err(RequestError::Name(_))), "{name:?}");
        }
        for bytes in [&b""[..], b"\0", b"\0\x01", b"\0\x01a", b"\0\x01a\0octet", b"\0\x04\0\x01"] {
            assert_eq!(ReadRequest::parse(bytes), Err(RequestError::Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn impossible_options_are_as_if_not_asked() {
        let request =
            rrq(&[b"a", b"octet", b"blksize", b"7", b"windowsize", b"0", b"timeout", b"x", b"multicast", b""]);
        assert_eq!(ReadRequest::parse(&request).unwrap().options, RequestedOptions::default());
    }
}
