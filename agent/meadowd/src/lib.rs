//! `meadowd`.
