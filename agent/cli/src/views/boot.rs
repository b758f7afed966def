//! The boot log, boots, and what keeps machines from booting.

use meadow_model::boot::{BootEvent, MachineBoot, PxeCheck};

use crate::output::{Cell, Column, Tone, View};

impl View for BootEvent {
    fn reference(&self) -> String {
        format!("bootevent/{}", self.seq)
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "SEQ", wide: false, cell: |e| e.seq.to_string().into() },
            Column { title: "TIME", wide: false, cell: |e| e.time.to_string().into() },
            Column { title: "MAC", wide: false, cell: |e| e.mac.map(|mac| mac.to_string()).unwrap_or_default().into() },
            Column { title: "CODE", wide: false, cell: code },
            Column { title: "MESSAGE", wide: false, cell: |e| e.message.as_str().into() },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        vec![
            ("Event", self.seq.to_string()),
            ("Time", self.time.to_string()),
            ("MAC", self.mac.map(|mac| mac.to_string()).unwrap_or_default()),
            ("Code", self.code.clone()),
            ("Message", self.message.clone()),
        ]
    }
}

fn code(event: &BootEvent) -> Cell {
    let bad = event.code.ends_with("failed") || event.code.ends_with("conflict");
    Cell { text: event.code.clone(), tone: if bad { Tone::Bad } else { Tone::Plain } }
}

impl View for MachineBoot {
    fn reference(&self) -> String {
        format!("machineboot/{}", self.mac)
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "MAC", wide: false, cell: |b| b.mac.to_string().into() },
            Column { title: "FIRMWARE", wide: false, cell: |b| b.firmware.clone().unwrap_or_default().into() },
            Column { title: "FORM", wide: true, cell: |b| b.form.clone().unwrap_or_default().into() },
            Column {
                title: "ADDRESS",
                wide: true,
                cell: |b| b.address.map(|a| a.to_string()).unwrap_or_default().into(),
            },
            Column { title: "IMAGE", wide: false, cell: |b| b.image.clone().unwrap_or_default().into() },
            Column { title: "STAGE", wide: false, cell: stage },
            Column { title: "LAST SEEN", wide: false, cell: |b| b.last_seen.to_string().into() },
            Column { title: "MESSAGE", wide: false, cell: |b| b.message.as_str().into() },
            Column { title: "NEXT STEP", wide: false, cell: next_step },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        vec![
            ("MAC", self.mac.to_string()),
            ("Firmware", self.firmware.clone().unwrap_or_default()),
            ("Address", self.address.map(|address| address.to_string()).unwrap_or_default()),
            ("Form", self.form.clone().unwrap_or_else(|| "none was taken yet".to_owned())),
            ("Image", self.image.clone().unwrap_or_default()),
            ("Stage", stage(self).text),
            ("Last seen", self.last_seen.to_string()),
            ("Message", self.message.clone()),
            ("Waits", self.waits_for.clone().unwrap_or_default()),
            ("Next step", self.next_step.clone().unwrap_or_default()),
        ]
    }
}

impl View for PxeCheck {
    fn reference(&self) -> String {
        format!("pxecheck/{}", self.name.replace(' ', "-"))
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "CHECK", wide: false, cell: |c| c.name.as_str().into() },
            Column { title: "FINE", wide: false, cell: fine },
            Column { title: "WHAT", wide: false, cell: |c| c.text.as_str().into() },
            Column { title: "NEXT STEP", wide: false, cell: |c| c.next_step.clone().unwrap_or_default().into() },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        vec![
            ("Check", self.name.clone()),
            ("Fine", fine(self).text),
            ("What", self.text.clone()),
            ("Next step", self.next_step.clone().unwrap_or_default()),
        ]
    }
}

fn fine(check: &PxeCheck) -> Cell {
    let (text, tone) = if check.ok { ("yes", Tone::Good) } else { ("no", Tone::Bad) };
    Cell { text: text.to_owned(), tone }
}

fn stage(boot: &MachineBoot) -> Cell {
    let percent = boot.percent.map(|percent| format!(" {percent} %")).unwrap_or_default();
    let (mark, tone) = if boot.failed { ("FAILED ", Tone::Bad) } else { ("", Tone::Plain) };
    Cell { text: format!("{mark}{}{percent}", boot.stage), tone }
}

fn next_step(boot: &MachineBoot) -> Cell {
    match (&boot.next_step, &boot.waits_for) {
        (Some(step), _) => Cell { text: step.clone(), tone: Tone::Caution },
        (None, Some(wait)) => format!("waits: {wait}").into(),
        (None, None) => "".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_boot_is_told_from_others_without_colour() {
        let boot: MachineBoot = serde_json::from_value(serde_json::json!({
            "mac": "52:54:00:00:00:01", "under_way": true, "stage": "fetches kernel and initrd", "percent": 25,
            "message": "failed initrd: the machine fell silent", "failed": true, "next_step": "start it again",
            "last_seen": "2026-11-28T00:00:00Z",
        }))
        .expect("a boot");
        let cell = stage(&boot);
        assert_eq!((cell.text.as_str(), cell.tone), ("FAILED fetches kernel and initrd 25 %", Tone::Bad));
        assert_eq!(stage(&MachineBoot { failed: false, ..boot }).text, "fetches kernel and initrd 25 %");
    }
}
