//! `meadow-tests-vm`.
