//! `/sbin/unlock` of the initramfs: everything about a node's state before it is open.
//!
//! It is the login shell and forced command of Dropbear, the prompt on every console, and what PID 1 asks about a disk. A
//! person with a key of the record beside the state, or at a console, gets a prompt and nothing else: no shell, no
//! command of his own. Pure, and tested so: [`invocation`], [`probe::answer`], [`throttle`], [`mod@line`].

pub mod attempt;
pub mod console;
pub mod invocation;
pub mod line;
pub mod manifest;
pub mod news;
mod patience;
pub mod probe;
pub mod restore;
pub mod run_files;
pub mod session;
pub mod status;
pub mod terminal;
pub mod throttle;
pub mod tpm;
mod unstopped;
