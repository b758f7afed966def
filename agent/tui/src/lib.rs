//! The console of a machine: what it is, where it stands, and what a person has to compare.
//!
//! Drawn with plain ASCII and the sixteen colours that every terminal has, so that it looks the same on a Linux console and
//! on a serial line; only the QR code needs half blocks. [`app::App`] is a plain machine of states: keys and answers of the
//! agent go in, cells and wishes ([`app::Wish`]) come out. The rest brings those to a terminal and to the agent.

pub mod app;
mod disks;
mod field;
mod glyphs;
pub mod install;
pub mod keys;
pub mod network;
pub mod page;
pub mod poll;
mod qr;
mod reset;
mod rows;
pub mod screen;
mod setup;
mod sticks;
pub mod tty;
pub mod work;
