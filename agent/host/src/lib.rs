//! `meadow-host`.
