//! Kernel modules: which ones the hardware asks for, and loading them.

mod glob;
mod index;
mod loader;

pub use glob::matches;
pub use index::Index;
pub use loader::Loader;
