//! The routes of Meadow's API: what is asked, who may ask it, and how the answers look.
//!
//! No sockets and no TLS: meadowd accepts connections, puts the caller's [`Identity`] and [`PeerAddress`] into each
//! request and hands it to [`router`]. All effects go through [`Backend`].

pub mod access;
pub mod backend;
pub mod document;
mod extract;
pub mod identity;
mod layers;
pub mod list;
mod precondition;
mod problem;
mod routes;
pub mod wire;

pub use backend::{Answer, Arm, Author, Backend};
pub use identity::{Identity, PeerAddress, Role};
pub use routes::router;

/// Version of the JSON forms that the API writes; changes only when a field goes or changes its meaning.
pub const FORM_VERSION: u32 = 1;
/// Largest body of a request, in bytes.
pub const MAX_BODY: usize = 1 << 20;
/// Largest answer of a node to an operation: a backup of a LUKS header, sealed.
pub const MAX_ANSWER: usize = 6 << 20;
