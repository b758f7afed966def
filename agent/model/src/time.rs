//! Points in time, as they are written in the API and the state.

use serde::{Deserialize, Serialize};

/// A point in wall-clock time, UTC, written as RFC 3339 with milliseconds.
///
/// The replicated state never reads a clock: whoever proposes a command puts the time into it, so that every replica
/// applies the same value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(value_type = String, format = DateTime, examples("2026-11-22T18:20:00.000Z"))]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        // Clamped to the years 1 to 9998, which RFC 3339 can write, so that formatting cannot fail.
        Self(millis.clamp(-62_135_596_800_000, 253_370_764_799_999))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// This time and `seconds` more (or fewer, where negative).
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self::from_millis(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// Milliseconds from `earlier` to this time; 0 where `earlier` is later (clocks are set back now and then).
    #[must_use]
    pub fn millis_since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => f.write_str("invalid"),
        }
    }
}

impl std::fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

impl TryFrom<String> for Timestamp {
    type Error = jiff::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Ok(Self::from_millis(text.parse::<jiff::Timestamp>()?.as_millisecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn text_and_back_is_the_same_time() {
        for millis in [0, 1, 999, 1_795_000_000_123, -1] {
            let time = Timestamp::from_millis(millis);
            assert_eq!(Timestamp::try_from(time.to_string()).ok(), Some(time));
        }
    }

    #[test]
    fn a_clock_set_back_gives_zero_not_a_wrap() {
        let now = Timestamp::from_millis(5_000);
        assert_eq!(now.millis_since(now.plus_seconds(10)), 0);
    }

    #[test]
    fn the_ends_of_time_can_be_written() {
        for millis in [i64::MIN, i64::MAX] {
            assert_ne!(Timestamp::from_millis(millis).to_string(), "invalid");
        }
    }
}
