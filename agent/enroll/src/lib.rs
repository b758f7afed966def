//! `meadow-enroll`.
