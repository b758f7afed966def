//! `meadow-client`.
