//! Byte ranges (RFC 9110, 14).

/// One requested range. Several ranges at once are not served: the whole file is the answer then,
/// as the RFC allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeRequest {
    /// `bytes=a-b`, both inclusive.
    FromTo(u64, u64),
    /// `bytes=a-`.
    From(u64),
    /// `bytes=-n`: the last n bytes.
    Last(u64),
}

/// Part of a file: first byte and length, length never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// Offset of the first byte.
    pub start: u64,
    /// Number of bytes.
    pub length: u64,
}

impl RangeRequest {
    /// Parses the value of a `Range` header; `None` for what is to be ignored.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let (unit, set) = value.split_once('=')?;
        // Names of units are compared without case (RFC 9110, 14.1).
        let (first, last) = set.trim().split_once('-').filter(|_| unit.eq_ignore_ascii_case("bytes"))?;
        match (first, last) {
            ("", last) => Some(Self::Last(number(last)?)),
            (first, "") => Some(Self::From(number(first)?)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::FromTo(first, last))
            }
        }
    }

    /// The part of a file of `size` bytes; `None` if it has no such part (416).
    #[must_use]
    pub fn resolve(self, size: u64) -> Option<ByteRange> {
        let (start, end) = match self {
            Self::FromTo(first, last) => (first, last.saturating_add(1).min(size)),
            Self::From(first) => (first, size),
            Self::Last(count) => (size.saturating_sub(count), size),
        };
        (start < end).then(|| ByteRange { start, length: end - start })
    }
}

fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_ranges() {
        for (value, size, wanted) in [
            ("bytes=0-99", 1000, Some((0, 100))),
            ("Bytes=0-99", 1000, Some((0, 100))),
            ("bytes=900-", 1000, Some((900, 100))),
            ("bytes=-10", 1000, Some((990, 10))),
            ("bytes=-5000", 1000, Some((0, 1000))),
            ("bytes=990-5000", 1000, Some((990, 10))),
            ("bytes=0-18446744073709551615", 1000, Some((0, 1000))),
            ("bytes=1000-", 1000, None),
            ("bytes=-0", 1000, None),
            ("bytes=0-0", 0, None),
        ] {
            let range = RangeRequest::parse(value).unwrap().resolve(size);
            assert_eq!(range.map(|range| (range.start, range.length)), wanted, "{value}");
        }
    }

    #[test]
    fn ignores_what_it_does_not_understand() {
        for value in ["bytes=5-4", "bytes=0-1,5-6", "lines=0-1", "bytes=", "bytes=-", "bytes=+1-2", "bytes=a-b"] {
            assert_eq!(RangeRequest::parse(value), None, "{value}");
        }
    }
}
