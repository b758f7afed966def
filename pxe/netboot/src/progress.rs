//! How far a machine's boot is, why it goes on no more, and what a person does then: read off its events.

use std::time::Duration;

use crate::arch::Firmware;
use crate::event::{EventKind, OfferForm};

/// Where a machine stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootProgress {
    /// The stage that was reached last.
    pub stage: BootStage,
    /// How much of that stage is done.
    pub percent: Option<u8>,
    /// The newest event, for people.
    pub text: String,
    /// Whether that event is a failure.
    pub failed: bool,
}

/// Stages of a boot, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootStage {
    /// It asked, and has no answer.
    Seen,
    /// It gets no answer.
    Ignored,
    /// It was offered something and has not come for it.
    Offered {
        /// In which form.
        form: OfferForm,
    },
    /// It fetches the boot loader.
    Loader,
    /// It runs the boot loader and has asked what to do.
    Script,
    /// It fetches kernel and initrd.
    Files,
    /// It runs our initrd.
    Initrd,
    /// It has left our hands: it starts its system.
    Started,
}

impl BootProgress {
    /// What the events of one machine, oldest first, say together; `None` where there are none.
    #[must_use]
    pub fn of<'a>(events: impl IntoIterator<Item = &'a EventKind>) -> Option<Self> {
        events.into_iter().fold(None, |before, event| Some(Self::after(before, event)))
    }

    fn after(before: Option<Self>, event: &EventKind) -> Self {
        let stage_before = before.map_or(BootStage::Seen, |before| before.stage);
        let (stage, percent) = match event {
            EventKind::Seen { .. } => (BootStage::Seen, None),
            EventKind::Ignored { .. } => (BootStage::Ignored, None),
            EventKind::Offered { form, .. } => (BootStage::Offered { form: *form }, None),
            EventKind::Asked { file, .. } => (of_file(file).unwrap_or(stage_before), None),
            EventKind::Sent { file, percent, .. } => (of_file(file).unwrap_or(stage_before), Some(*percent)),
            EventKind::Unconfirmed { file } => (of_file(file).unwrap_or(stage_before), Some(100)),
            EventKind::Progress { stage, percent, .. } if stage == "switch-root" => (BootStage::Started, *percent),
            EventKind::Progress { percent, .. } => (BootStage::Initrd, *percent),
            EventKind::Leased { .. }
            | EventKind::Failed { .. }
            | EventKind::Conflict { .. }
            | EventKind::Server { .. } => (stage_before, None),
        };
        let failed = matches!(event, EventKind::Failed { .. } | EventKind::Conflict { .. });
        Self { stage, percent, text: event.to_string(), failed }
    }

    /// What it waits for right now, where nobody has to do anything.
    #[must_use]
    pub fn waits_for(&self, firmware: Option<Firmware>) -> Option<&'static str> {
        let uefi = matches!(firmware, Some(Firmware::UefiX64 | Firmware::UefiIa32 | Firmware::UefiArm64));
        match self.stage {
            BootStage::Offered { form } if uefi && form.is_for_pxe() => {
                Some("UEFI collects offers for 4 s before it takes one")
            }
            BootStage::Offered { form: OfferForm::Http } => Some("UEFI collects offers before it takes one"),
            BootStage::Offered { form: OfferForm::Ipxe } => Some("iPXE settles its addresses, IPv4 and IPv6"),
            BootStage::Offered { .. } => Some("the firmware takes its address from the router"),
            BootStage::Loader if self.percent == Some(100) => {
                Some("the boot loader starts and looks for its network card")
            }
            BootStage::Files if self.percent == Some(100) => Some("the kernel starts"),
            _ => None,
        }
    }

    /// What a person does where it has stood like this for `silent`; `None` while that is usual.
    #[must_use]
    pub fn next_step(&self, silent: Duration) -> Option<&'static str> {
        let patience = match self.stage {
            BootStage::Ignored | BootStage::Started => return None,
            _ if self.failed => 0,
            BootStage::Seen | BootStage::Offered { .. } => 20,
            BootStage::Loader | BootStage::Script => 40,
            BootStage::Files => 60,
            BootStage::Initrd => 120,
        };
        if silent < Duration::from_secs(patience) {
            return None;
        }
        Some(match self.stage {
            _ if self.failed => {
                "mend what the message names, then start it again; `meadow pxe doctor` looks for the usual causes, `meadow pxe capture` shows its packets"
            }
            BootStage::Seen => "it asked and was offered nothing: `meadow pxe events` and `meadow pxe status` tell why",
            BootStage::Initrd => {
                "its initrd says no more: its screen tells why; has its card a link? `meadow machine boot MACHINE hold` keeps it there at its next boot"
            }
            BootStage::Offered { .. } => {
                "it does not come for what it was offered: does another PXE server answer it (`meadow pxe doctor`), does the router give it an address? `meadow pxe capture` shows its packets"
            }
            BootStage::Loader => {
                "its boot loader does not go on: its screen tells why; `meadow machine boot MACHINE image --plain-pxe true` gives it ours in place of its card's"
            }
            BootStage::Script => {
                "it has its script and fetches nothing: its screen tells why; is port 7480 open to it?"
            }
            _ => "it got its files and is silent since: its screen tells why; does it have memory enough (1 GiB)?",
        })
    }
}

impl BootStage {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Seen => "asks",
            Self::Ignored => "is left alone",
            Self::Offered { .. } => "was offered a boot file",
            Self::Loader => "fetches the boot loader",
            Self::Script => "runs the boot loader",
            Self::Files => "fetches kernel and initrd",
            Self::Initrd => "runs the initrd",
            Self::Started => "starts its system",
        }
    }
}

fn of_file(file: &str) -> Option<BootStage> {
    // Over port 4011 the offered name comes as a URL or with its folder.
    let name = file.rsplit('/').next().unwrap_or(file);
    match name {
        "boot.ipxe" => Some(BootStage::Script),
        "boot.json" => Some(BootStage::Initrd),
        "vmlinuz" | "initrd" => Some(BootStage::Files),
        "root.img" => Some(BootStage::Initrd),
        _ => (name.ends_with(".kpxe") || name.ends_with(".efi")).then_some(BootStage::Loader),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Transport;

    fn sent(file: &str, percent: u8) -> EventKind {
        EventKind::Sent { file: file.to_owned(), percent, via: Transport::Http }
    }

    fn offered(form: OfferForm) -> EventKind {
        EventKind::Offered { file: "ipxe/snponly.efi".to_owned(), form, attempt: 1 }
    }

    #[test]
    fn a_boot_from_the_first_packet_to_its_system() {
        let progress =
            |stage: &str| EventKind::Progress { stage: stage.to_owned(), percent: None, message: String::new() };
        let asked = |file: &str| EventKind::Asked { file: file.to_owned(), via: Transport::Tftp };
        let steps = [
            (EventKind::Seen { vendor_class: String::new(), interface: None }, BootStage::Seen),
            (offered(OfferForm::BootServer), BootStage::Offered { form: OfferForm::BootServer }),
            (asked("ipxe/snponly.efi"), BootStage::Loader),
            (sent("ipxe/snponly.efi", 100), BootStage::Loader),
            (offered(OfferForm::Ipxe), BootStage::Offered { form: OfferForm::Ipxe }),
            (asked("boot.ipxe"), BootStage::Script),
            (sent("vmlinuz", 50), BootStage::Files),
            (sent("initrd", 100), BootStage::Files),
            (asked("boot.json"), BootStage::Initrd),
            (progress("root-download"), BootStage::Initrd),
            (progress("switch-root"), BootStage::Started),
        ];
        for end in 1..=steps.len() {
            let found = BootProgress::of(steps[..end].iter().map(|(event, _)| event)).unwrap();
            assert_eq!(found.stage, steps[end - 1].1, "after {end} events");
        }
    }

    #[test]
    fn a_failure_keeps_the_stage_and_says_so() {
        let why = EventKind::Failed { file: "initrd".to_owned(), why: "the machine fell silent".to_owned() };
        let found = BootProgress::of([&sent("initrd", 25), &why]).unwrap();
        assert!(found.failed && found.stage == BootStage::Files && found.text.contains("fell silent"), "{found:?}");
        assert_eq!(BootProgress::of([]), None);
    }

    #[test]
    fn a_file_whose_last_acknowledgement_is_missing_is_no_failure() {
        let found = BootProgress::of([&EventKind::Unconfirmed { file: "ipxe/snponly.efi".to_owned() }]).unwrap();
        assert!(!found.failed && found.stage == BootStage::Loader && found.percent == Some(100), "{found:?}");
    }

    #[test]
    fn a_wait_has_a_cause_and_one_that_lasts_has_a_next_step() {
        let uefi = BootProgress::of([&offered(OfferForm::BootServer)]).unwrap();
        assert!(uefi.waits_for(Some(Firmware::UefiX64)).unwrap().contains("4 s"));
        assert!(uefi.waits_for(Some(Firmware::Bios)).unwrap().contains("router"));
        assert_eq!(uefi.next_step(Duration::from_secs(5)), None);
        assert!(uefi.next_step(Duration::from_secs(30)).unwrap().contains("doctor"));
        let (asks, initrd) = (EventKind::Seen { vendor_class: String::new(), interface: None }, sent("root.img", 50));
        for (event, patience, wanted) in [(&asks, 20, "meadow pxe events"), (&initrd, 120, "hold")] {
            let stands = BootProgress::of([event]).unwrap();
            assert_eq!(stands.next_step(Duration::from_secs(patience - 1)), None);
            assert!(stands.next_step(Duration::from_secs(patience)).unwrap().contains(wanted));
        }
        let why = EventKind::Failed { file: "initrd".to_owned(), why: "the machine fell silent".to_owned() };
        let failed = BootProgress::of([&sent("initrd", 25), &why]).unwrap();
        assert!(failed.next_step(Duration::ZERO).unwrap().contains("doctor"), "a failure is not waited for");
        let gone = BootProgress::of([&EventKind::Ignored { why: String::new() }]).unwrap();
        assert_eq!(gone.next_step(Duration::from_secs(3600)), None);
    }
}
