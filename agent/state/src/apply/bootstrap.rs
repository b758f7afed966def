//! The beginning of a cluster.

use meadow_model::cluster::{Cluster, ClusterSpec, ClusterStatus};
use meadow_model::mesh::MeshPrefix;
use meadow_model::node::{Node, NodeSpec, NodeStatus};
use meadow_model::{Kind, Problem, Timestamp, enrolment};

use super::transaction::{Transaction, bad_request, conflict};
use crate::Outcome;
use crate::command::Bootstrap;

impl Transaction {
    pub(super) fn bootstrap(&mut self, bootstrap: &Bootstrap) -> Result<Outcome, Problem> {
        if let Some(cluster) = &self.state.cluster {
            if cluster.spec.ca_fingerprint == bootstrap.ca_fingerprint {
                return Ok(Outcome::Done);
            }
            return Err(conflict(format!("this state belongs to the cluster {}", cluster.metadata.name)));
        }
        let mesh = MeshPrefix::of_cluster(&bootstrap.ca_fingerprint);
        self.state.cluster = Some(Cluster {
            kind: Kind::Cluster,
            metadata: self.metadata(&bootstrap.cluster),
            spec: ClusterSpec {
                ca_fingerprint: bootstrap.ca_fingerprint,
                mesh,
                authorized_keys: bootstrap.authorized_keys.clone(),
                release_key: bootstrap.release_key.clone(),
                pxe_open_until: bootstrap.pxe_open_until,
            },
            status: ClusterStatus::default(),
        });
        self.touch(Kind::Cluster, &bootstrap.cluster);
        let first = &bootstrap.node;
        self.state.next_node = 2;
        self.state.mesh_generation = 1;
        self.put_node(Node {
            kind: Kind::Node,
            metadata: self.metadata(&first.name),
            spec: NodeSpec {
                id: 1,
                fingerprint: first.fingerprint,
                wireguard: first.wireguard,
                address: mesh.address(1),
                voter: true,
                ephemeral: false,
                macs: first.hardware.as_ref().map(enrolment::macs).unwrap_or_default(),
            },
            status: NodeStatus {
                endpoint: first.endpoint,
                hardware: first.hardware.clone(),
                measures: first.measures.clone(),
                ..NodeStatus::default()
            },
        });
        let message = format!("the cluster was created with its first node {}", first.name);
        self.info("cluster-created", Kind::Cluster, &bootstrap.cluster, message);
        Ok(Outcome::Done)
    }

    pub(super) fn open_pxe(&mut self, until: Option<Timestamp>) -> Result<Outcome, Problem> {
        if until.is_some_and(|until| until <= self.at) {
            return Err(bad_request("the window would be closed already; give a time to come"));
        }
        let Some(cluster) = &self.state.cluster else { return Ok(Outcome::Done) };
        if cluster.spec.pxe_open_until == until {
            return Ok(Outcome::Done);
        }
        let mut cluster = cluster.clone();
        let name = cluster.metadata.name.clone();
        cluster.spec.pxe_open_until = until;
        cluster.metadata.revision = self.metadata(&name).revision;
        self.state.cluster = Some(cluster);
        self.touch(Kind::Cluster, &name);
        match until {
            Some(until) => {
                let message = format!("every machine that asks over PXE is booted until {until}");
                self.info("pxe-opened", Kind::Cluster, &name, message);
            }
            None => {
                self.info("pxe-closed", Kind::Cluster, &name, "only machines that were named are booted".to_owned())
            }
        }
        Ok(Outcome::Done)
    }
}
