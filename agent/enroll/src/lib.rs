//! The protocol by which a machine becomes a node, without sockets, clocks or randomness.
//!
//! 1. The machine connects over TLS with a self-signed certificate of its identity key, and believes only the cluster
//!    CA that it has pinned: from the boot configuration, or from the join token.
//! 2. *hello*: it commits to a nonce and names the token it holds. The cluster answers with a nonce of its own and
//!    proves that it knows the token.
//! 3. Both compute the verification code. The machine shows it on its console.
//! 4. *claim*: the machine reveals its nonce, proves that it knows the token, or shows its ticket, and tells its
//!    hardware. A ticket or a token approves it; else a person does, who compares code and fingerprint.
//!
//! Every message can be sent again after a crash of either side. The cluster keeps hellos in memory only: after its
//! restart it answers a claim with "say hello again". A claim that was taken lies in the replicated state, so where it
//! stands can be asked with nothing but the key of the TLS connection, then and ever after.

mod cluster;
mod machine;
mod proof;
mod ticket;
mod token;

pub use cluster::{Checked, EnrolError, Hellos};
pub use machine::{Greeted, Greeting, Suspicion};
pub use ticket::Ticket;
pub use token::{InvalidToken, JoinToken};
