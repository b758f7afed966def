//! Keys, as terminals send them.

/// A key that was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A printable character.
    Char(char),
    /// Enter.
    Enter,
    /// Escape.
    Escape,
    /// Tab, or down.
    Next,
    /// Back-tab, or up.
    Previous,
    /// Left.
    Left,
    /// Right.
    Right,
    /// Backspace or delete.
    Erase,
    /// Anything else.
    Other,
}

/// Longest escape sequence that is looked for.
const LONGEST: usize = 8;

/// The keys in what one read gave. A terminal sends a sequence whole, so an escape that ends the bytes is the key itself.
#[must_use]
pub fn keys(bytes: &[u8]) -> Vec<Key> {
    let text = String::from_utf8_lossy(bytes);
    let mut found = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        found.push(match character {
            '\r' | '\n' => Key::Enter,
            '\t' => Key::Next,
            '\u{8}' | '\u{7f}' => Key::Erase,
            '\u{1b}' if matches!(rest.peek(), Some('[' | 'O')) => {
                rest.next();
                let mut sequence = String::new();
                while sequence.len() < LONGEST
                    && let Some(part) = rest.next()
                {
                    sequence.push(part);
                    if matches!(part, '@'..='~') {
                        break;
                    }
                }
                sequence_key(&sequence)
            }
            '\u{1b}' => Key::Escape,
            character if character.is_control() => Key::Other,
            character => Key::Char(character),
        });
    }
    found
}

fn sequence_key(sequence: &str) -> Key {
    match sequence {
        "A" | "Z" => Key::Previous,
        "B" => Key::Next,
        "C" => Key::Right,
        "D" => Key::Left,
        "3~" => Key::Erase,
        _ => Key::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_terminals_send() {
        for (bytes, expected) in [
            (&b"a"[..], vec![Key::Char('a')]),
            (b"\r", vec![Key::Enter]),
            (b"\x1b", vec![Key::Escape]),
            (b"\x1b[A\x1b[B\x1bOC\x1b[Z", vec![Key::Previous, Key::Next, Key::Right, Key::Previous]),
            (b"\x7f\x1b[3~\x0c", vec![Key::Erase, Key::Erase, Key::Other]),
            (b"\x1b[15~x", vec![Key::Other, Key::Char('x')]),
        ] {
            assert_eq!(keys(bytes), expected, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_keys(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(keys(&bytes).len() <= bytes.len());
        }
    }
}
