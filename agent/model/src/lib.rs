//! `meadow-model`.
