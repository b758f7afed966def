//! What the kernel's command line says about where to boot from.

use crate::dhcp::Mac;
use crate::network::boot_card;
use crate::slot::Slot;

/// What iPXE adds to the command line (see [`boot_card`]); GRUB and a UKI do not.
const NETBOOT: &str = "BOOTIF=";
const SLOT: &str = "meadow.slot=";
pub(crate) const ESP: &str = "meadow.esp=";
/// What an initrd of a stick adds for the one that it starts in place of its own (see [`crate::kexec`]).
pub(crate) const CHAINED: &str = "meadow.chained";

/// Where to boot from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Firmware fetched this initrd from the network.
    Network {
        /// The card that it used, where that was said.
        boot_card: Option<Mac>,
    },
    /// It came from a disk.
    Disk {
        /// The slot that the boot loader took, where it said so.
        slot: Option<Slot>,
        /// GPT partition UUID of the ESP that it came from, in lower case, where that was said.
        esp: Option<String>,
    },
    /// The initrd of a stick fetched this one from a server and started it. Never starts another one.
    Chained {
        /// GPT partition UUID of the stick's ESP, in lower case, where that was said.
        esp: Option<String>,
    },
}

impl Mode {
    /// Reads `/proc/cmdline`. What is odd counts as not said: a boot goes on without a hint.
    #[must_use]
    pub fn parse(command_line: &str) -> Self {
        let words = || command_line.split_ascii_whitespace();
        if words().any(|word| word.starts_with(NETBOOT)) {
            return Self::Network { boot_card: boot_card(command_line) };
        }
        let value = |name: &str| words().find_map(|word| word.strip_prefix(name));
        let esp = value(ESP).filter(|text| is_uuid(text)).map(str::to_ascii_lowercase);
        if words().any(|word| word == CHAINED) {
            return Self::Chained { esp };
        }
        Self::Disk { slot: value(SLOT).and_then(Slot::parse), esp }
    }

    /// The card that the firmware booted from.
    #[must_use]
    pub fn boot_card(&self) -> Option<Mac> {
        match self {
            Self::Network { boot_card } => *boot_card,
            Self::Disk { .. } | Self::Chained { .. } => None,
        }
    }
}

/// Whether this has the length and the letters of a UUID.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UUID: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";

    #[test]
    fn table_of_command_lines() {
        let disk = |slot, esp: Option<&str>| Mode::Disk { slot, esp: esp.map(str::to_ascii_lowercase) };
        for (text, expected) in [
            (
                "quiet BOOTIF=01-52-54-00-ab-cd-01 loglevel=3",
                Mode::Network { boot_card: Some([0x52, 0x54, 0, 0xab, 0xcd, 1]) },
            ),
            // The network is meant, even where the card's address cannot be read.
            ("BOOTIF=odd meadow.slot=a", Mode::Network { boot_card: None }),
            ("", disk(None, None)),
            ("quiet meadow.slot=a", disk(Some(Slot::A), None)),
            (&format!("meadow.slot=b meadow.esp={UUID}\n"), disk(Some(Slot::B), Some(UUID))),
            ("meadow.slot=c meadow.esp=x", disk(None, None)),
            ("meadow.slot= xmeadow.slot=a", disk(None, None)),
            ("quiet meadow.chained", Mode::Chained { esp: None }),
            (&format!("meadow.esp={UUID} meadow.chained"), Mode::Chained { esp: Some(UUID.to_ascii_lowercase()) }),
            ("meadow.chained=1 xmeadow.chained", disk(None, None)),
        ] {
            assert_eq!(Mode::parse(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_mode(text in "\\PC{0,80}") {
            let _ = Mode::parse(&text);
        }
    }
}
