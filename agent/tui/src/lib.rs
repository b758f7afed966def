//! `meadow-tui`.
