//! Admins' public SSH keys.

use meadow_model::ssh_key::SshKey;
use serde::Serialize;

use crate::output::{Column, View};

/// A key as it is shown.
#[derive(Debug, Serialize)]
pub(crate) struct ShownSshKey {
    /// As `ssh-keygen -l` shows it; `None` for what a Meadow of before took for a key.
    pub(crate) fingerprint: Option<String>,
    /// What its owner called it.
    pub(crate) comment: String,
    kind: String,
    key: String,
}

impl ShownSshKey {
    /// A line in OpenSSH form.
    pub(crate) fn of(line: &str) -> Self {
        let key = line.to_owned();
        match line.parse::<SshKey>() {
            Ok(parsed) => Self {
                fingerprint: Some(parsed.fingerprint().to_string()),
                comment: parsed.comment().to_owned(),
                kind: parsed.kind().to_owned(),
                key,
            },
            Err(_) => {
                let mut words = line.splitn(3, ' ');
                let kind = words.next().unwrap_or_default().to_owned();
                let comment = words.nth(1).unwrap_or_default().trim().to_owned();
                Self { fingerprint: None, comment, kind, key }
            }
        }
    }

    /// Fingerprint and comment.
    pub(crate) fn in_words(&self) -> String {
        format!("{} {}", self.name(), self.comment).trim_end().to_owned()
    }

    fn name(&self) -> &str {
        self.fingerprint.as_deref().unwrap_or("a key that Dropbear does not take")
    }
}

impl View for ShownSshKey {
    fn reference(&self) -> String {
        format!("ssh-key/{}", self.fingerprint.as_deref().unwrap_or(&self.comment))
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "FINGERPRINT", wide: false, cell: |k| k.name().into() },
            Column { title: "KIND", wide: false, cell: |k| k.kind.as_str().into() },
            Column { title: "COMMENT", wide: false, cell: |k| k.comment.as_str().into() },
            Column { title: "KEY", wide: true, cell: |k| k.key.as_str().into() },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        vec![("SSH key", self.name().to_owned()), ("Kind", self.kind.clone()), ("Comment", self.comment.clone())]
    }
}
