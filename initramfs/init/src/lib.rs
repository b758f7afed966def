//! `meadow-init`.
