//! Machines.

use meadow_model::Name;
use meadow_model::boot::BootPolicy;
use meadow_model::machine::{Decision, Machine, MachinePhase};

use super::{hardware, now};
use crate::duration;
use crate::output::{Cell, Column, Tone, View};

impl View for Machine {
    fn reference(&self) -> String {
        format!("machine/{}", self.metadata.name)
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "NAME", wide: false, cell: |m| m.metadata.name.as_str().into() },
            Column { title: "PHASE", wide: false, cell: phase },
            Column { title: "CODE", wide: false, cell: |m| text(m.status.code.as_ref()) },
            Column { title: "MAC", wide: false, cell: |m| text(m.status.mac.as_ref()) },
            Column { title: "BOOT", wide: false, cell: |m| boot(m).into() },
            Column { title: "HARDWARE", wide: false, cell: |m| hardware::summary(m.status.hardware.as_ref()).into() },
            Column { title: "NODE", wide: false, cell: |m| node(m).into() },
            Column { title: "SEEN", wide: false, cell: |m| seen(m).into() },
            Column { title: "ADDRESS", wide: true, cell: |m| text(m.status.address.as_ref()) },
            Column { title: "FINGERPRINT", wide: true, cell: |m| text(m.status.fingerprint.as_ref()) },
            Column { title: "HINTS", wide: true, cell: |m| m.status.hints.join("; ").into() },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("Machine", self.metadata.name.to_string()),
            ("Phase", decision(self)),
            ("Code", self.status.code.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("Fingerprint", self.status.fingerprint.map(|f| f.to_string()).unwrap_or_default()),
            ("MAC", self.status.mac.map(|mac| mac.to_string()).unwrap_or_default()),
            ("Address", self.status.address.map(|address| address.to_string()).unwrap_or_default()),
            ("Processors", self.status.architecture.clone().unwrap_or_default()),
            ("Boot", boot(self)),
            ("Seen", self.status.last_seen.map(|_| format!("{} ago", seen(self))).unwrap_or_default()),
        ];
        lines.extend(hardware::lines(self.status.hardware.as_ref(), self.status.measures.as_ref()));
        lines.extend(self.status.hints.iter().map(|hint| ("Hint", hint.clone())));
        lines
    }
}

fn text(value: Option<&impl ToString>) -> Cell {
    value.map(ToString::to_string).unwrap_or_default().into()
}

fn phase(machine: &Machine) -> Cell {
    let tone = match machine.status.phase {
        MachinePhase::Seen => Tone::Plain,
        MachinePhase::Pending => Tone::Caution,
        MachinePhase::Approved => Tone::Good,
        MachinePhase::Rejected => Tone::Bad,
    };
    Cell { text: machine.status.phase.to_string(), tone }
}

fn decision(machine: &Machine) -> String {
    let phase = machine.status.phase;
    match &machine.spec.decision {
        Decision::Undecided => phase.to_string(),
        Decision::Approved { node, by, at } => format!("{phase} as node {node} by {by}, {at}"),
        Decision::Rejected { by, at } => format!("{phase} by {by}, {at}"),
    }
}

fn node(machine: &Machine) -> String {
    match &machine.spec.decision {
        Decision::Approved { node, .. } => node.to_string(),
        _ => String::new(),
    }
}

fn boot(machine: &Machine) -> String {
    let word = |policy: BootPolicy| {
        let value = serde_json::to_value(policy).ok();
        value.as_ref().and_then(|value| value.as_str()).unwrap_or_default().to_owned()
    };
    let with_image = |policy: BootPolicy, image: &Option<Name>| match image {
        Some(image) if matches!(policy, BootPolicy::Image | BootPolicy::Hold) => format!("{} {image}", word(policy)),
        _ => word(policy),
    };
    let options = &machine.spec.boot_options;
    let mut text = with_image(machine.spec.boot, &options.image);
    if let Some(once) = options.once {
        text = format!("once {}, then {text}", with_image(once, &options.once_image));
    }
    if !machine.spec.boot_options.kernel_arguments.is_empty() {
        text.push_str(&format!(" (with {})", machine.spec.boot_options.kernel_arguments));
    }
    if machine.spec.plain_pxe {
        text.push_str(" (plain PXE)");
    }
    if let Some(armed) = machine.spec.armed.as_ref().filter(|armed| armed.bound.is_none()) {
        text.push_str(&format!(" (armed, {})", duration::left(now(), armed.expires)));
    }
    text
}

fn seen(machine: &Machine) -> String {
    machine.status.last_seen.map(|time| duration::age(now(), time)).unwrap_or_default()
}
