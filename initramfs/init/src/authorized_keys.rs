//! The public keys that may look at the boot state.

/// More are not needed to look at one machine.
const MOST_KEYS: usize = 64;
/// Longer than any RSA key in use.
const LONGEST_KEY: usize = 2048;
const KINDS: [&str; 6] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
];
/// Beside the forced command and the switches of the server: nothing but to look.
const RESTRICTIONS: &str = "no-pty,no-port-forwarding,no-agent-forwarding,no-X11-forwarding";

/// The text of Dropbear's `authorized_keys`, and how many of the keys were left out because they
/// are none. A key must be `TYPE BASE64 [COMMENT]`: options of the server are not obeyed.
#[must_use]
pub fn render(keys: &[String]) -> (String, usize) {
    let lines: Vec<String> = keys.iter().take(MOST_KEYS).filter_map(|key| line(key)).collect();
    let left_out = keys.len() - lines.len();
    (lines.concat(), left_out)
}

fn line(key: &str) -> Option<String> {
    let key = key.trim();
    let mut words = key.split(' ');
    let kind = words.next()?;
    let blob = words.next()?;
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let sound = key.len() <= LONGEST_KEY
        && KINDS.contains(&kind)
        && !blob.is_empty()
        && blob.bytes().all(base64)
        && !key.chars().any(char::is_control);
    sound.then(|| format!("{RESTRICTIONS} {kind} {blob}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_restricted_and_comments_dropped() {
        let (text, left_out) = render(&["ssh-ed25519 AAAAC3Nz+/= me@home".to_owned()]);
        assert_eq!(text, format!("{RESTRICTIONS} ssh-ed25519 AAAAC3Nz+/=\n"));
        assert_eq!(left_out, 0);
    }

    #[test]
    fn what_is_no_key_is_left_out() {
        for bad in [
            "",
            "ssh-ed25519",
            "ssh-dss AAAA",
            "command=\"x\" ssh-ed25519 AAAA",
            "ssh-ed25519 AAAA\nssh-rsa BBBB",
            "ssh-ed25519 A$A",
        ] {
            assert_eq!(render(&[bad.to_owned()]), (String::new(), 1), "{bad}");
        }
        let many = vec!["ssh-ed25519 AAAA".to_owned(); 100];
        assert_eq!(render(&many).1, 36);
    }
}
