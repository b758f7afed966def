//! What a person or a program sends as a passphrase: one line, not longer than any key, wiped when it is dropped.

use std::io::{self, Read};

use zeroize::Zeroizing;

/// Bytes of a line at most; a passphrase has up to 512, a recovery key 79.
pub const LONGEST: usize = 1024;

/// Why there is no line.
#[derive(Debug)]
pub enum NoLine {
    /// Nothing came before the end.
    End,
    /// More than [`LONGEST`] bytes.
    TooLong,
    /// Not UTF-8.
    NotText,
    /// The system said so.
    Io(io::Error),
}

/// A line, without its end. On the heap: moving it about leaves no copies behind.
pub struct Line {
    bytes: Zeroizing<Box<[u8]>>,
    length: usize,
}

impl Line {
    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        // Checked when it was read.
        self.bytes.get(..self.length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

/// Reads up to a line end or the input's. Unbuffered, so that nothing of it stays in a buffer nobody wipes.
///
/// # Errors
/// [`NoLine`]
pub fn read(mut from: impl Read) -> Result<Line, NoLine> {
    let mut bytes = Zeroizing::new(vec![0; LONGEST].into_boxed_slice());
    let mut length = 0;
    loop {
        let Some(room) = bytes.get_mut(length..).filter(|room| !room.is_empty()) else { return Err(NoLine::TooLong) };
        let count = match from.read(room) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(NoLine::Io(error)),
        };
        let fresh = bytes.get(length..length + count).unwrap_or_default();
        let end = fresh.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        if count == 0 && length == 0 {
            return Err(NoLine::End);
        }
        length += end.unwrap_or(count);
        if end.is_some() || count == 0 {
            break;
        }
    }
    let text = bytes.get(..length).unwrap_or_default();
    if std::str::from_utf8(text).is_err() {
        return Err(NoLine::NotText);
    }
    Ok(Line { bytes, length })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives a few bytes at a time, as a network does.
    struct Drops<'a>(&'a [u8], usize);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            let (now, later) = self.0.split_at(count);
            buffer[..count].copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    #[test]
    fn lines_and_what_is_none() {
        assert_eq!(read(&b"pass phrase\r\nmore"[..]).unwrap().text(), "pass phrase");
        assert_eq!(read(&b"no end"[..]).unwrap().text(), "no end");
        assert_eq!(read(&b"\n"[..]).unwrap().text(), "");
        assert!(matches!(read(&b""[..]), Err(NoLine::End)));
        assert!(matches!(read(&[b'x'; LONGEST][..]), Err(NoLine::TooLong)));
        assert!(matches!(read(io::repeat(b'x')), Err(NoLine::TooLong)));
        assert!(matches!(read(&b"\xff\n"[..]), Err(NoLine::NotText)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_line_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..1200), drop in 1..64_usize) {
            if let Ok(line) = read(Drops(&bytes, drop)) {
                let expected = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap();
                prop_assert_eq!(line.text().as_bytes(), expected);
            }
        }
    }
}
