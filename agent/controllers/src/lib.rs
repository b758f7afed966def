//! `meadow-controllers`.
