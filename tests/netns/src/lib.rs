//! `meadow-tests-netns`.
