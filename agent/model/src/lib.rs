//! The nouns of Meadow: identifiers, units, resources, problems.
//!
//! Pure: no clock, no I/O, no randomness. Everything that travels over the API or lies in the replicated state is
//! made of these types, so a change here is a change of a wire format or a disk format.

pub mod action;
pub mod boot;
pub mod cluster;
pub mod code;
pub mod console;
pub mod enrolment;
pub mod event;
pub mod fingerprint;
pub mod hardware;
pub mod header_backup;
pub mod image;
pub mod install;
pub mod mac;
pub mod machine;
pub mod mesh;
pub mod name;
pub mod network;
pub mod node;
pub mod one_or_many;
pub mod operation;
pub mod preboot;
pub mod problem;
pub mod record;
pub mod reset;
pub mod resource;
pub mod secret;
pub mod seed;
pub mod ssh_key;
pub mod time;
pub mod token;
pub mod work;

pub use fingerprint::Fingerprint;
pub use mac::MacAddress;
pub use name::Name;
pub use problem::{Problem, ProblemCode};
pub use resource::{Kind, Metadata, Resource};
pub use secret::Secret;
pub use time::Timestamp;
