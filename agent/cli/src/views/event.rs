//! Events.

use meadow_model::event::{Event, Severity};

use crate::output::{Cell, Column, Tone, View};

impl View for Event {
    fn reference(&self) -> String {
        format!("event/{}", self.seq)
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "SEQ", wide: false, cell: |e| e.seq.to_string().into() },
            Column { title: "TIME", wide: false, cell: |e| e.time.to_string().into() },
            Column { title: "SEVERITY", wide: false, cell: severity },
            Column {
                title: "SUBJECT",
                wide: false,
                cell: |e| format!("{:?}/{}", e.kind, e.subject).to_lowercase().into(),
            },
            Column { title: "MESSAGE", wide: false, cell: |e| e.message.as_str().into() },
            Column { title: "CODE", wide: true, cell: |e| e.code.as_str().into() },
            Column { title: "BY", wide: true, cell: |e| e.actor.as_str().into() },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        vec![
            ("Event", self.seq.to_string()),
            ("Time", self.time.to_string()),
            ("Severity", severity(self).text),
            ("Code", self.code.clone()),
            ("Subject", format!("{:?}/{}", self.kind, self.subject).to_lowercase()),
            ("By", self.actor.clone()),
            ("Message", self.message.clone()),
        ]
    }
}

fn severity(event: &Event) -> Cell {
    let (text, tone) = match event.severity {
        Severity::Info => ("info", Tone::Plain),
        Severity::Warning => ("warning", Tone::Caution),
    };
    Cell { text: text.to_owned(), tone }
}
