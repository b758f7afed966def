//! `meadow-netboot`.
