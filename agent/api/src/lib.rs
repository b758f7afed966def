//! `meadow-api`.
