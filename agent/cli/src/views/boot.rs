//! The PXE server and its boot log.

use meadow_model::boot::{BootEvent, PxeStatus};

use super::now;
use crate::duration;
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

impl View for PxeStatus {
    fn reference(&self) -> String {
        "pxe".to_owned()
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "SERVING", wide: false, cell: serving },
            Column { title: "INTERFACE", wide: false, cell: |p| p.interface.clone().unwrap_or_default().into() },
            Column { title: "URL", wide: false, cell: |p| p.base_url.clone().unwrap_or_default().into() },
            Column { title: "WINDOW", wide: false, cell: |p| window(p).into() },
            Column { title: "PROBLEMS", wide: false, cell: |p| p.problems.join("; ").into() },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("Serving", serving(self).text),
            ("Interface", self.interface.clone().unwrap_or_else(|| "none".to_owned())),
            ("URL", self.base_url.clone().unwrap_or_default()),
            ("Window", window(self)),
        ];
        lines.extend(self.problems.iter().map(|problem| ("Problem", problem.clone())));
        lines
    }
}

fn serving(status: &PxeStatus) -> Cell {
    if status.serving {
        Cell { text: "yes".to_owned(), tone: Tone::Good }
    } else {
        Cell { text: "no".to_owned(), tone: Tone::Bad }
    }
}

fn window(status: &PxeStatus) -> String {
    match status.open_until {
        Some(until) if until > now() => {
            format!("open, {} left: every machine that asks is booted", duration::left(now(), until))
        }
        _ => "closed: only machines that were named are booted".to_owned(),
    }
}
