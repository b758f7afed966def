//! `meadow-bench`.
