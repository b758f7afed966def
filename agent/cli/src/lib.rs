//! `meadow-cli`.
