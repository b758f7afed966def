//! Response heads.

use std::fmt::Write;

use super::range::ByteRange;

/// Head of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// Status code.
    pub status: u16,
    /// Value of `Content-Type`.
    pub content_type: &'static str,
    /// Length of the body that a GET gets.
    pub content_length: u64,
    /// Entity tag without its quotes.
    pub etag: Option<String>,
    /// SHA-256 digest of the whole file in Base64, for `Repr-Digest` (RFC 9530).
    pub digest: Option<String>,
    /// The part of the file that is sent, with the size of the whole file.
    pub range: Option<(ByteRange, u64)>,
    /// Size of the file whose requested part does not exist (416).
    pub unsatisfied: Option<u64>,
    /// Whether the file can be asked for in parts.
    pub accept_ranges: bool,
    /// Methods that are served there (405).
    pub allow: Option<&'static str>,
    /// When it was made, as in RFC 9110, 6.6.1.
    pub date: Option<String>,
    /// Seconds after which to ask again (503).
    pub retry_after: Option<u32>,
    /// Whether another request may follow on this connection.
    pub keep_alive: bool,
}

impl ResponseHead {
    /// A response with a body of this type and length, nothing else set.
    #[must_use]
    pub fn new(status: u16, content_type: &'static str, content_length: u64) -> Self {
        Self {
            status,
            content_type,
            content_length,
            etag: None,
            digest: None,
            range: None,
            unsatisfied: None,
            accept_ranges: false,
            allow: None,
            date: None,
            retry_after: None,
            keep_alive: true,
        }
    }

    /// Encodes the head with the empty line behind it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        // Writing to a string cannot fail.
        let _ = write!(text, "Content-Type: {}\r\n", self.content_type);
        // 204 must not have one (RFC 9110, 8.6); of 304 it would be that of the file.
        if !matches!(self.status, 204 | 304) {
            let _ = write!(text, "Content-Length: {}\r\n", self.content_length);
        }
        if let Some(etag) = &self.etag {
            let _ = write!(text, "ETag: \"{etag}\"\r\n");
        }
        if let Some(digest) = &self.digest {
            let _ = write!(text, "Repr-Digest: sha-256=:{digest}:\r\n");
        }
        if self.accept_ranges {
            text.push_str("Accept-Ranges: bytes\r\n");
        }
        if let Some((range, size)) = self.range {
            let last = range.start + range.length - 1;
            let _ = write!(text, "Content-Range: bytes {}-{last}/{size}\r\n", range.start);
        }
        if let Some(size) = self.unsatisfied {
            let _ = write!(text, "Content-Range: bytes */{size}\r\n");
        }
        if let Some(seconds) = self.retry_after {
            let _ = write!(text, "Retry-After: {seconds}\r\n");
        }
        if let Some(methods) = self.allow {
            let _ = write!(text, "Allow: {methods}\r\n");
        }
        if let Some(date) = &self.date {
            let _ = write!(text, "Date: {date}\r\n");
        }
        text.push_str(if self.keep_alive { "Connection: keep-alive\r\n\r\n" } else { "Connection: close\r\n\r\n" });
        text.into_bytes()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        304 => "Not Modified",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

/// Media type of a file, from its name. UEFI looks at the type first, then at the end of the name: it starts a program, or
/// what it finds in the image of a CD or of a disk.
#[must_use]
pub fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("efi") => "application/efi",
        Some("json") => "application/json",
        Some("iso") => "application/vnd.efi-iso",
        Some("img") => "application/vnd.efi-img",
        Some("ipxe") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_content() {
        let mut head = ResponseHead::new(206, content_type("root.img"), 100);
        head.etag = Some("ab".into());
        head.digest = Some("q80=".into());
        head.range = Some((ByteRange { start: 900, length: 100 }, 1000));
        head.accept_ranges = true;
        let text = String::from_utf8(head.encode()).unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 206 Partial Content\r\nContent-Type: application/vnd.efi-img\r\nContent-Length: 100\r\n\
             ETag: \"ab\"\r\nRepr-Digest: sha-256=:q80=:\r\nAccept-Ranges: bytes\r\nContent-Range: bytes 900-999/1000\r\n\
             Connection: keep-alive\r\n\r\n"
        );
    }

    #[test]
    fn an_answer_without_a_body_has_no_length() {
        for (status, has_length) in [(204, false), (304, false), (200, true)] {
            let text = String::from_utf8(ResponseHead::new(status, "text/plain", 0).encode()).unwrap();
            assert_eq!(text.contains("Content-Length"), has_length, "{text}");
        }
    }

    #[test]
    fn efi_files_have_the_type_that_firmware_wants() {
        for (name, wanted) in [
            ("ipxe/ipxe.efi", "application/efi"),
            ("debian/mini.iso", "application/vnd.efi-iso"),
            ("root.img", "application/vnd.efi-img"),
            ("vmlinuz", "application/octet-stream"),
            ("img", "application/octet-stream"),
        ] {
            assert_eq!(content_type(name), wanted, "{name}");
        }
    }
}
