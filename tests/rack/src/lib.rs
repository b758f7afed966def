//! `meadow-rack`.
