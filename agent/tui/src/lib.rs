//! The console of a machine: what it is, where it stands, and what a person has to compare.
//!
//! One page, read-only, drawn with plain ASCII and the sixteen colours that every terminal has, so that it looks the
//! same on a Linux console and on a serial line. [`page::render`] is a plain function from what the agent tells to
//! cells; the rest brings those to a terminal.

mod glyphs;
pub mod page;
pub mod poll;
pub mod screen;
pub mod tty;
