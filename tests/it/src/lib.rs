//! `meadow-tests-it`.
