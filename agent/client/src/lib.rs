//! The client of Meadow's API: over TLS to a cluster whose CA is pinned, or over the agent's Unix socket.
//!
//! A server is known by the CA that signed its certificate, whatever its address: addresses at home change. Where
//! there are several addresses, each is tried in turn.

mod artifact;
mod connection;
mod context;
mod endpoint;
mod error;
mod images;
mod resources;
mod transport;

pub use artifact::{ARTIFACT_PORT, ARTIFACTS, ArtifactError, fetch_artifact};
pub use context::{Context, ContextError, context_folder};
pub use endpoint::{Endpoint, InvalidEndpoint};
pub use error::ClientError;
pub use resources::ListAll;
pub use transport::{Client, Timeouts};

/// Port of the API where an address names none.
pub const API_PORT: u16 = 7443;
/// Unix socket of the agent on this computer, for root.
pub const LOCAL_SOCKET: &str = "/run/meadow/api.sock";
/// Largest answer that is read, in bytes: a page of 500 machines with their inventories stays far below it.
pub const MAX_RESPONSE: usize = 32 << 20;
