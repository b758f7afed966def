//! `meadow-raft`.
