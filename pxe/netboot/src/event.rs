//! What happened on the way of a machine from power-on to its root file system.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use meadow_model::MacAddress;
use serde::{Deserialize, Serialize};

use crate::arch::Firmware;

/// How a file is asked for and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// DHCP on port 4011 (PXE boot server request).
    Dhcp,
    /// TFTP.
    Tftp,
    /// HTTP.
    Http,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dhcp => "port 4011",
            Self::Tftp => "TFTP",
            Self::Http => "HTTP",
        })
    }
}

/// The form of a DHCP offer: what real firmware accepts differs by age and maker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OfferForm {
    /// With option 43 = `06 01 08 FF`: the boot file in this very offer is the answer.
    Direct,
    /// Without option 43: the firmware asks again on port 4011.
    BootServer,
    /// Both, one behind the other: the firmware takes what it knows.
    Both,
    /// Option 60 `HTTPClient` and a URL.
    Http,
    /// iPXE: `siaddr` and the file in the offer.
    Ipxe,
    /// Our initrd: the base URL.
    Initrd,
}

impl OfferForm {
    /// Whether it is a form for plain PXE firmware, which can be told in more than one.
    #[must_use]
    pub fn is_for_pxe(self) -> bool {
        matches!(self, Self::Direct | Self::BootServer | Self::Both)
    }
}

impl fmt::Display for OfferForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::BootServer => "boot-server",
            Self::Both => "both",
            Self::Http => "http",
            Self::Ipxe => "ipxe",
            Self::Initrd => "initrd",
        })
    }
}

/// One step of a boot, or a fault of the boot server. [`EventKind::code`] is stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum EventKind {
    /// A machine asked for a boot for the first time in a while.
    Seen {
        /// Its vendor class, printable characters only.
        vendor_class: String,
        /// The interface on which it was heard, where that was noted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interface: Option<String>,
    },
    /// It gets nothing, and why.
    Ignored {
        /// Reason and next step.
        why: String,
    },
    /// It was offered a file.
    Offered {
        /// File name or URL.
        file: String,
        /// Form of the offer.
        form: OfferForm,
        /// Which offer in this exchange, from 1.
        attempt: u32,
    },
    /// It was given an address, in full DHCP mode.
    Leased {
        /// The address.
        address: Ipv4Addr,
        /// For how long.
        seconds: u32,
    },
    /// It came for the file.
    Asked {
        /// File name or path.
        file: String,
        /// How.
        via: Transport,
    },
    /// A part of the file, or all, has been sent.
    Sent {
        /// File name.
        file: String,
        /// 100 when the last byte was acknowledged (TFTP) or handed to the network (HTTP).
        percent: u8,
        /// How.
        via: Transport,
    },
    /// All of a file was sent by TFTP, and only the last acknowledgement did not come.
    Unconfirmed {
        /// File name.
        file: String,
    },
    /// A step of its boot failed.
    Failed {
        /// The file in question, empty if none.
        file: String,
        /// Reason and next step.
        why: String,
    },
    /// Its initrd reports.
    Progress {
        /// Stage, for instance `root-download`.
        stage: String,
        /// Share of the stage that is done.
        percent: Option<u8>,
        /// Text for people.
        message: String,
    },
    /// Two parties claim the same thing: one MAC with two UUIDs, or a port that is taken.
    Conflict {
        /// What, and the next step.
        what: String,
    },
    /// The boot server itself: what it serves, waits for or misses.
    Server {
        /// Text for people, with the next step if there is one.
        message: String,
    },
}

impl EventKind {
    /// Stable code for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Seen { .. } => "pxe.seen",
            Self::Ignored { .. } => "pxe.ignored",
            Self::Offered { .. } => "pxe.offered",
            Self::Leased { .. } => "dhcp.leased",
            Self::Asked { .. } => "pxe.asked",
            Self::Sent { .. } | Self::Unconfirmed { .. } => "pxe.sent",
            Self::Failed { .. } => "pxe.failed",
            Self::Progress { .. } => "pxe.progress",
            Self::Conflict { .. } => "pxe.conflict",
            Self::Server { .. } => "pxe.server",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seen { vendor_class, interface: Some(name) } => write!(f, "seen on {name} ({vendor_class})"),
            Self::Seen { vendor_class, interface: None } => write!(f, "seen ({vendor_class})"),
            Self::Ignored { why } => write!(f, "ignored: {why}"),
            Self::Offered { file, form, attempt } => {
                write!(f, "offered {file} (form {form}, offer {attempt})")
            }
            Self::Leased { address, seconds } => write!(f, "has the address {address} for {seconds} s"),
            Self::Asked { file, via } => write!(f, "asked for {file} ({via})"),
            Self::Sent { file, percent, via } => write!(f, "sent {percent} % of {file} ({via})"),
            Self::Unconfirmed { file } => write!(f, "sent all of {file} (TFTP); not confirmed"),
            Self::Failed { file, why } if file.is_empty() => write!(f, "failed: {why}"),
            Self::Failed { file, why } => write!(f, "failed {file}: {why}"),
            Self::Progress { stage, percent, message } => {
                write!(f, "{stage}")?;
                if let Some(percent) = percent {
                    write!(f, " {percent} %")?;
                }
                if !message.is_empty() {
                    write!(f, ": {message}")?;
                }
                Ok(())
            }
            Self::Conflict { what } => write!(f, "conflict: {what}"),
            Self::Server { message } => f.write_str(message),
        }
    }
}

/// An event with the machine that it is about; the caller adds the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The machine, `None` for the boot server itself.
    pub mac: Option<MacAddress>,
    /// Its firmware, where known.
    pub firmware: Option<Firmware>,
    /// The address it uses, where known.
    pub address: Option<IpAddr>,
    /// What happened.
    pub kind: EventKind,
}

/// Makes text from the network fit for a log: printable ASCII only, at most `max` characters.
#[must_use]
pub fn printable(bytes: &[u8], max: usize) -> String {
    bytes.iter().take(max).map(|&b| if b == b' ' || b.is_ascii_graphic() { char::from(b) } else { '?' }).collect()
}
