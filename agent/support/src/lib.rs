//! Support bundles: what somebody who helps has to know of a computer, without its secrets.
//!
//! Nothing is asked of the network. What is gathered is bounded, and before it is packed everything is searched for the
//! secrets that this computer has ([`Secrets`]): no log line is trusted to hold none.

mod bundle;
mod gather;
mod secrets;

pub use bundle::{Bundle, Entry};
pub use gather::gather;
pub use secrets::Secrets;
