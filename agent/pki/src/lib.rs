//! `meadow-pki`.
