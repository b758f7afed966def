//! The public keys that may log in to the initramfs.

/// More are not needed for one machine.
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
const NO_FORWARDING: &str = "no-port-forwarding,no-agent-forwarding,no-X11-forwarding";

/// What a login may not have, beside what the forced command and the switches of the server rule out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restrictions {
    /// No terminal either.
    NoTerminal,
    /// A terminal is fine.
    Terminal,
}

impl Restrictions {
    fn options(self) -> String {
        match self {
            Self::NoTerminal => format!("no-pty,{NO_FORWARDING}"),
            Self::Terminal => NO_FORWARDING.to_owned(),
        }
    }
}

/// The text of Dropbear's `authorized_keys`, and how many of the keys were left out because they
/// are none. A key must be `TYPE BASE64 [COMMENT]`: options of the server are not obeyed.
#[must_use]
pub fn render(keys: &[String], restrictions: Restrictions) -> (String, usize) {
    let options = restrictions.options();
    let lines: Vec<String> = keys.iter().take(MOST_KEYS).filter_map(|key| line(key, &options)).collect();
    let left_out = keys.len() - lines.len();
    (lines.concat(), left_out)
}

fn line(key: &str, options: &str) -> Option<String> {
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
    sound.then(|| format!("{options} {kind} {blob}\n"))
}

#[cfg(test)]
mod tests {
    use meadow_model::ssh_key;

    use super::*;

    /// PID 1 shares no crate with the agent; what the cluster lets in has to open its nodes.
    #[test]
    fn what_a_cluster_takes_is_taken_here() {
        assert_eq!((KINDS, MOST_KEYS, LONGEST_KEY), (ssh_key::KINDS, ssh_key::MOST, ssh_key::LONGEST));
    }

    #[test]
    fn keys_are_restricted_and_comments_dropped() {
        for (restrictions, options) in [
            (Restrictions::NoTerminal, format!("no-pty,{NO_FORWARDING}")),
            (Restrictions::Terminal, NO_FORWARDING.to_owned()),
        ] {
            let (text, left_out) = render(&["ssh-ed25519 AAAAC3Nz+/= me@home".to_owned()], restrictions);
            assert_eq!(text, format!("{options} ssh-ed25519 AAAAC3Nz+/=\n"));
            assert_eq!(left_out, 0);
        }
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
            assert_eq!(render(&[bad.to_owned()], Restrictions::Terminal), (String::new(), 1), "{bad}");
        }
        let many = vec!["ssh-ed25519 AAAA".to_owned(); 100];
        assert_eq!(render(&many, Restrictions::Terminal).1, 36);
    }
}
