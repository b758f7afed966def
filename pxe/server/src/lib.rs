//! `meadow-pxe`.
