//! What the agent does: keys, enrolment, the mesh, reports. Each part is level-triggered: it looks at what is and at
//! what is wanted, so a crash at any line only means that it looks again.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make files of their own"))]

pub mod bootstrap;
pub mod carried_image;
pub mod disk_helper;
pub mod enrol;
pub mod image_fetch;
pub mod image_manifest;
pub mod image_source;
pub mod image_store;
pub mod join;
pub mod keys;
pub mod live;
pub mod mailbox;
pub mod membership;
pub mod mesh;
pub mod network_settings;
pub mod node_tasks;
pub mod paths;
pub mod probe;
pub mod report;
pub mod resolver_file;
pub mod rollout;
pub mod self_status;
pub mod settings;
pub mod ssh_keys;
pub mod stick_image;
pub mod stored;
pub mod support;
pub mod unlock_watch;
pub mod work;
