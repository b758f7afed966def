//! Lengths of time on the command line and in tables.

use meadow_model::Timestamp;

/// Reads `90s`, `10m`, `1h`, `2d` or a number of seconds.
///
/// # Errors
/// A text for people.
pub(crate) fn parse(text: &str) -> Result<u32, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err("write a number with s, m, h or d, such as 10m".to_owned()),
    };
    let seconds = number.parse::<u32>().ok().and_then(|number| number.checked_mul(factor));
    seconds.ok_or_else(|| "write a number with s, m, h or d, such as 10m".to_owned())
}

/// A length of time in its largest unit, such as `12s`, `5m`, `3h`, `9d`.
pub(crate) fn short(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long ago `time` was.
pub(crate) fn age(now: Timestamp, time: Timestamp) -> String {
    short(now.millis_since(time) / 1000)
}

/// How long it is until `time`; `expired` where it has passed.
pub(crate) fn left(now: Timestamp, time: Timestamp) -> String {
    if time <= now { "expired".to_owned() } else { short(time.millis_since(now).div_ceil(1000)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        let cases = [("90", 90), ("90s", 90), ("10m", 600), ("1h", 3_600), ("2d", 172_800), ("0", 0)];
        for (text, seconds) in cases {
            assert_eq!(parse(text), Ok(seconds), "{text}");
        }
        for bad in ["", "h", "1w", "-1", "1.5h", "99999999999", "4294967295d", "1h30m"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_largest_unit_that_says_something() {
        let cases = [(0, "0s"), (119, "119s"), (120, "2m"), (7_199, "119m"), (7_200, "2h"), (172_800, "2d")];
        for (seconds, text) in cases {
            assert_eq!(short(seconds), text);
        }
    }
}
