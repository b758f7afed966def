//! Nodes.

use meadow_model::Name;
use meadow_model::node::{Node, NodeState};

use super::{hardware, now};
use crate::duration;
use crate::output::{Cell, Column, Tone, View};

impl View for Node {
    fn reference(&self) -> String {
        format!("node/{}", self.metadata.name)
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "NAME", wide: false, cell: |n| n.metadata.name.as_str().into() },
            Column { title: "STATE", wide: false, cell: state },
            Column { title: "ADDRESS", wide: false, cell: |n| n.spec.address.to_string().into() },
            Column { title: "ROLE", wide: false, cell: |n| role(n).into() },
            Column { title: "REPORT", wide: false, cell: |n| report(n).into() },
            Column { title: "HARDWARE", wide: false, cell: |n| hardware::summary(n.status.hardware.as_ref()).into() },
            Column { title: "REASON", wide: false, cell: |n| n.status.reason.clone().unwrap_or_default().into() },
            Column { title: "ENDPOINT", wide: true, cell: |n| endpoint(n).into() },
            Column { title: "VERSION", wide: true, cell: |n| n.status.version.clone().unwrap_or_default().into() },
            Column { title: "FINGERPRINT", wide: true, cell: |n| n.spec.fingerprint.to_string().into() },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let unresolved = self.status.unresolved.iter().map(Name::as_str).collect::<Vec<_>>().join(", ");
        let mut lines = vec![
            ("Node", self.metadata.name.to_string()),
            ("State", self.status.state.to_string()),
            ("Reason", self.status.reason.clone().unwrap_or_default()),
            ("Address", self.spec.address.to_string()),
            ("Endpoint", endpoint(self)),
            ("Role", role(self)),
            ("Fingerprint", self.spec.fingerprint.to_string()),
            ("Report", self.status.last_report.map(|_| format!("{} ago", report(self))).unwrap_or_default()),
            (
                "Handshake",
                self.status.last_handshake.map(|t| format!("{} ago", duration::age(now(), t))).unwrap_or_default(),
            ),
            ("Unresolved", unresolved),
            ("Version", self.status.version.clone().unwrap_or_default()),
        ];
        lines.extend(self.status.installed.iter().flat_map(super::disk::lines));
        lines.extend(hardware::lines(self.status.hardware.as_ref(), self.status.measures.as_ref()));
        lines
    }
}

fn state(node: &Node) -> Cell {
    let tone = match node.status.state {
        NodeState::Ready => Tone::Good,
        NodeState::NotReady => Tone::Bad,
        NodeState::Lost => Tone::Caution,
    };
    Cell { text: node.status.state.to_string(), tone }
}

fn role(node: &Node) -> String {
    match (node.spec.voter, node.spec.ephemeral) {
        (true, _) => "voter",
        (false, true) => "in RAM",
        (false, false) => "node",
    }
    .to_owned()
}

fn report(node: &Node) -> String {
    node.status.last_report.map(|time| duration::age(now(), time)).unwrap_or_default()
}

fn endpoint(node: &Node) -> String {
    node.status.endpoint.map(|endpoint| endpoint.to_string()).unwrap_or_default()
}
