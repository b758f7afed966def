//! Small files of sysfs and procfs as text that is safe to show.

use std::path::Path;

use meadow_host::files;

/// No attribute of sysfs is larger than a page.
const ATTRIBUTE_LIMIT: u64 = 64 << 10;
/// Longest text that firmware or a disk may tell about itself.
const MAX_TEXT: usize = 128;

/// The file's text without surrounding white space; `None` where there is no such file, no text, or no permission.
pub(super) fn attribute(path: &Path) -> Option<String> {
    printable(&String::from_utf8_lossy(&files::read(path, ATTRIBUTE_LIMIT).ok()?))
}

/// The file as a number.
pub(super) fn number(path: &Path) -> Option<u64> {
    attribute(path)?.parse().ok()
}

/// The file as a flag, `0` or `1`.
pub(super) fn flag(path: &Path) -> bool {
    number(path) == Some(1)
}

/// Text from outside as it may go to a terminal: no control characters, runs of blanks as one, bounded; `None` where
/// nothing is left.
pub(super) fn printable(text: &str) -> Option<String> {
    let cleaned: String = text.chars().map(|c| if c.is_control() || c == '\u{fffd}' { ' ' } else { c }).collect();
    let joined = cleaned.split_whitespace().collect::<Vec<_>>().join(" ");
    let bounded: String = joined.chars().take(MAX_TEXT).collect();
    Some(bounded).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn what_hardware_says_cannot_reach_the_terminal_raw() {
        assert_eq!(printable("  WDC  WD40\u{1b}[2J\n"), Some("WDC WD40 [2J".into()));
        assert_eq!(printable(" \0\n"), None);
        assert_eq!(printable(&"x".repeat(1000)).map(|text| text.len()), Some(128));
    }
}
