//! The kernel's announcements of devices (kobject uevents).

use std::collections::HashMap;

/// One announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uevent {
    fields: HashMap<String, String>,
}

impl Uevent {
    /// Parses `ACTION@DEVPATH\0KEY=VALUE\0…`; `None` for anything else, such as udev's messages.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<Self> {
        let mut parts = message.split(|&byte| byte == 0);
        let first = parts.next()?;
        if !first.contains(&b'@') {
            return None;
        }
        let fields = parts
            .filter_map(|part| std::str::from_utf8(part).ok()?.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        Some(Self { fields })
    }

    /// A field, such as `MODALIAS`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.fields.get(key).map(String::as_str)
    }

    /// Whether it announces something new, or new abilities of it.
    #[must_use]
    pub fn is_arrival(&self) -> bool {
        matches!(self.get("ACTION"), Some("add" | "change" | "move"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_network_card() {
        let event =
            Uevent::parse(b"add@/devices/virtual/net/eth0\0ACTION=add\0SUBSYSTEM=net\0INTERFACE=eth0\0SEQNUM=7\0")
                .unwrap();
        assert!(event.is_arrival());
        assert_eq!(event.get("INTERFACE"), Some("eth0"));
        assert_eq!(event.get("MODALIAS"), None);
    }

    #[test]
    fn other_messages_are_nothing() {
        assert_eq!(Uevent::parse(b"libudev\0\xfe\xed\xca\xfe"), None);
        assert_eq!(Uevent::parse(b""), None);
        assert!(!Uevent::parse(b"remove@/x\0ACTION=remove\0\xff=\0").unwrap().is_arrival());
    }
}
