//! Ethernet addresses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A 48-bit Ethernet address. It names a machine in boot policies; it never proves an identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

/// Text that is not an Ethernet address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a MAC address; write six bytes in hex, like 52:54:00:12:34:56")]
pub struct MacParseError(String);

/// Organisation prefixes of the Raspberry Pi foundation and company: their boot ROM says
/// architecture 0, but does not speak PXE.
const RASPBERRY_PI_OUIS: [[u8; 3]; 6] = [
    [0x28, 0xcd, 0xc1],
    [0x2c, 0xcf, 0x67],
    [0xb8, 0x27, 0xeb],
    [0xd8, 0x3a, 0xdd],
    [0xdc, 0xa6, 0x32],
    [0xe4, 0x5f, 0x01],
];

impl MacAddr {
    /// Written with dashes, as in the paths of boot URLs: `52-54-00-12-34-56`.
    #[must_use]
    pub fn dashed(&self) -> String {
        self.to_string().replace(':', "-")
    }

    /// Whether the address can belong to one network card: neither a group address nor all zero.
    #[must_use]
    pub fn is_unicast(&self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }

    /// Whether the organisation prefix is one of Raspberry Pi's.
    #[must_use]
    pub fn is_raspberry_pi(&self) -> bool {
        RASPBERRY_PI_OUIS.iter().any(|oui| self.0.starts_with(oui))
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = MacParseError;

    /// Accepts colons or dashes between the bytes, in either case of letters.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || MacParseError(text.chars().take(40).collect());
        let separator = if text.contains('-') { '-' } else { ':' };
        let mut bytes = [0; 6];
        let mut parts = text.split(separator);
        for byte in &mut bytes {
            let part = parts.next().ok_or_else(error)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(error());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| error())?;
        }
        if parts.next().is_some() {
            return Err(error());
        }
        Ok(Self(bytes))
    }
}

impl Serialize for MacAddr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MacAddr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_separators() {
        let mac = MacAddr([0x52, 0x54, 0, 0xab, 0xcd, 1]);
        for text in ["52:54:00:ab:cd:01", "52-54-00-AB-CD-01"] {
            assert_eq!(text.parse(), Ok(mac), "{text}");
        }
        assert_eq!(mac.dashed(), "52-54-00-ab-cd-01");
    }

    #[test]
    fn refuses_what_is_no_address() {
        for text in
            ["", "52:54:00:ab:cd", "52:54:00:ab:cd:01:02", "+2:54:00:ab:cd:01", "525400abcd01", "52:54-00:ab:cd:01"]
        {
            assert!(text.parse::<MacAddr>().is_err(), "{text:?}");
        }
    }
}
