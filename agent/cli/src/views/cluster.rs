//! The cluster.

use meadow_model::Name;
use meadow_model::cluster::Cluster;

use crate::output::{Cell, Column, Tone, View};

impl View for Cluster {
    fn reference(&self) -> String {
        format!("cluster/{}", self.metadata.name)
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "NAME", wide: false, cell: |c| c.metadata.name.as_str().into() },
            Column { title: "NODES", wide: false, cell: nodes },
            Column { title: "PENDING", wide: false, cell: |c| c.status.pending.to_string().into() },
            Column { title: "LEADER", wide: false, cell: |c| leader(c).into() },
            Column { title: "WARNINGS", wide: false, cell: |c| c.status.warnings.join("; ").into() },
            Column { title: "CA", wide: true, cell: |c| c.spec.ca_fingerprint.to_string().into() },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("Cluster", self.metadata.name.to_string()),
            ("Nodes", nodes(self).text),
            ("Pending", pending(self.status.pending)),
            ("Leader", leader(self)),
            ("CA", self.spec.ca_fingerprint.to_string()),
        ];
        let behind: Vec<&str> = self.status.ssh_keys_behind.iter().map(Name::as_str).collect();
        if !behind.is_empty() {
            lines.push(("SSH keys", format!("the newest are not yet on the disks of {}", behind.join(", "))));
        }
        lines.extend(self.status.warnings.iter().map(|warning| ("Warning", warning.clone())));
        lines
    }
}

fn nodes(cluster: &Cluster) -> Cell {
    let (ready, all) = (cluster.status.ready, cluster.status.nodes);
    Cell { text: format!("{ready} of {all} ready"), tone: if ready == all { Tone::Good } else { Tone::Bad } }
}

fn pending(machines: u32) -> String {
    match machines {
        0 => "none".to_owned(),
        1 => "1 machine waits; see `meadow machine ls`".to_owned(),
        more => format!("{more} machines wait; see `meadow machine ls`"),
    }
}

fn leader(cluster: &Cluster) -> String {
    cluster.status.leader.as_ref().map_or("none".to_owned(), ToString::to_string)
}
