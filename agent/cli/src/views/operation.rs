//! Operations.

use meadow_model::operation::{Operation, OperationState};

use super::now;
use crate::duration;
use crate::output::{Cell, Column, Tone, View};

impl View for Operation {
    fn reference(&self) -> String {
        format!("operation/{}", self.metadata.name)
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "NAME", wide: false, cell: |o| o.metadata.name.as_str().into() },
            Column { title: "STATE", wide: false, cell: state },
            Column { title: "ACTION", wide: false, cell: |o| o.spec.action.as_str().into() },
            Column { title: "TARGET", wide: false, cell: |o| target(o).into() },
            Column { title: "AGE", wide: false, cell: |o| duration::age(now(), o.metadata.created).into() },
            Column { title: "LAST STEP", wide: false, cell: |o| last(o).into() },
            Column { title: "BY", wide: true, cell: |o| o.spec.actor.as_str().into() },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("Operation", self.metadata.name.to_string()),
            ("State", state(self).text),
            ("Action", self.spec.action.clone()),
            ("Target", target(self)),
            ("By", self.spec.actor.clone()),
            ("Started", self.metadata.created.to_string()),
            ("Ended", self.status.ended.map(|time| time.to_string()).unwrap_or_default()),
            ("Error", self.status.error.clone().unwrap_or_default()),
        ];
        lines.extend(self.status.steps.iter().map(|step| ("Step", format!("{}  {}", step.time, step.message))));
        lines
    }
}

fn state(operation: &Operation) -> Cell {
    let (text, tone) = match operation.status.state {
        OperationState::Running => ("Running", Tone::Caution),
        OperationState::Succeeded => ("Succeeded", Tone::Good),
        OperationState::Failed => ("Failed", Tone::Bad),
    };
    Cell { text: text.to_owned(), tone }
}

fn target(operation: &Operation) -> String {
    format!("{:?}/{}", operation.spec.kind, operation.spec.target).to_lowercase()
}

fn last(operation: &Operation) -> String {
    let step = operation.status.steps.last().map(|step| step.message.clone());
    operation.status.error.clone().or(step).unwrap_or_default()
}
