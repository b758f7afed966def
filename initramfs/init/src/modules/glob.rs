//! Shell patterns as `modules.alias` uses them.

/// Whether `text` matches `pattern` with `*`, `?` and `[a-z]` sets.
///
/// Runs in time proportional to the product of the lengths: device names are input from hardware.
#[must_use]
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // After a `*`: where to go on in the pattern, and how much of the text it has taken.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        let step = match text.get(t) {
            None if p == pattern.len() => return true,
            None => None,
            Some(&byte) => single(&pattern[p..], byte),
        };
        if let Some(used) = step {
            p += used;
            t += 1;
        } else if let Some((after, taken)) = retry.filter(|(_, taken)| *taken < text.len()) {
            retry = Some((after, taken + 1));
            (p, t) = (after, taken + 1);
        } else {
            return false;
        }
    }
}

/// How much of the pattern one byte of the text uses up, if it matches.
fn single(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern.first()? {
        b'?' => Some(1),
        b'[' => {
            let end = pattern.iter().position(|&b| b == b']')?;
            in_set(&pattern[1..end], byte).then_some(end + 1)
        }
        &literal => (literal == byte).then_some(1),
    }
}

fn in_set(mut set: &[u8], byte: u8) -> bool {
    while let Some((&low, rest)) = set.split_first() {
        if let [b'-', high, rest @ ..] = rest {
            if (low..=*high).contains(&byte) {
                return true;
            }
            set = rest;
        } else if low == byte {
            return true;
        } else {
            set = rest;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn table() {
        for (pattern, text, expected) in [
            ("pci:v00001AF4d00001000sv*sd*bc*sc*i*", "pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00", true),
            ("pci:v00001AF4d00001000sv*sd*bc*sc*i*", "pci:v00001AF4d00001001sv00001AF4sd00000001bc02sc00i00", false),
            ("usb:v0BDAp8152d*dc*dsc*dp*icFFisc*ip*in*", "usb:v0BDAp8152d3000dc00dsc00dp00icFFiscFFip00in00", true),
            ("virtio:d00000001v*", "virtio:d00000001v00001AF4", true),
            ("mdio:0000000000011100110010010001????", "mdio:00000000000111001100100100010110", true),
            ("acpi*:PNP0C0[ABC]:*", "acpi:PNP0C0B:", true),
            ("acpi*:PNP0C0[ABC]:*", "acpi:PNP0C0D:", false),
            ("x[0-9]", "x7", true),
            ("x[0-9]", "xa", false),
            ("x[", "x[", false),
            ("", "", true),
            ("*", "", true),
            ("?", "", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    /// The plain recursive definition.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => naive(rest, text) || text.split_first().is_some_and(|(_, t)| naive(pattern, t)),
            (Some((b'?', rest)), Some((_, text))) => naive(rest, text),
            (Some((p, rest)), Some((t, text))) => p == t && naive(rest, text),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn like_the_definition(pattern in "[ab*?]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(matches(&pattern, &text), naive(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn never_panics(pattern in "\\PC{0,20}", text in "\\PC{0,20}") {
            let _ = matches(&pattern, &text);
        }
    }
}
