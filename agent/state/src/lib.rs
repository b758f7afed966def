//! `meadow-state`.
