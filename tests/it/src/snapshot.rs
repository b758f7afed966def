//! Texts that are compared with files of `testdata`.

use std::fs;
use std::path::Path;

/// Compares `text` with `testdata/<name>`; with `UPDATE` in the environment writes it there.
///
/// # Panics
/// Where they differ.
pub fn compare(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, text).expect("testdata can be written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == text,
        "{} differs; look at it and run this test with UPDATE=1\n--- now\n{text}",
        path.display()
    );
}

/// `text` with a word in place of whatever differs from run to run: names made of keys, fingerprints, codes, times, ages,
/// addresses of the mesh. Blanks in a row become one, since columns are as wide as what stands in them.
#[must_use]
pub fn normalised(text: &str) -> String {
    text.lines().map(|line| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ") + "\n").collect()
}

fn word(word: &str) -> String {
    let bare = word.trim_end_matches([',', ';', '.', ')', '`']);
    let rest = &word[bare.len()..];
    if let Some((kind, name)) = bare.split_once("/m-") {
        return format!("{kind}/{}{rest}", self::word(&format!("m-{name}")));
    }
    let digits = bare.len() > 1 && bare[..bare.len() - 1].bytes().all(|b| b.is_ascii_digit());
    let normal = if bare.starts_with("SHA256:") {
        "FINGERPRINT"
    } else if bare.len() == 24 && bare.ends_with('Z') && bare.contains('T') {
        "TIME"
    } else if digits && bare.ends_with(['s', 'm', 'h', 'd']) {
        "AGE"
    } else if bare.starts_with("fd") && bare.contains("::") {
        "ADDRESS"
    } else if bare.starts_with("m-") && bare.len() == 12 {
        "MACHINE"
    } else if is_code(bare) {
        "CODE"
    } else if bare.starts_with("t-") && bare.len() == 10 {
        "TOKEN"
    } else {
        bare
    };
    format!("{normal}{rest}")
}

fn is_code(word: &str) -> bool {
    let groups: Vec<&str> = word.split('-').collect();
    let letters =
        |group: &&str| group.len() == 4 && group.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    groups.len() == 2 && groups.iter().all(letters)
}

#[cfg(test)]
mod tests {
    use super::normalised;

    #[test]
    fn only_what_differs_from_run_to_run_is_replaced() {
        let text = "seed   Ready  fd6d:65::1  12s, SHA256:abc 2026-11-22T18:20:00.000Z  2 nodes";
        assert_eq!(normalised(text), "seed Ready ADDRESS AGE, FINGERPRINT TIME 2 nodes\n");
        assert_eq!(normalised("machine/m-9a0b5c451f m-9a0b5c451f` BRPZ-VVKS"), "machine/MACHINE MACHINE` CODE\n");
    }
}
