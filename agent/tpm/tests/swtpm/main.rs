//! What a real TPM 2.0 (swtpm's) seals and gives back, and when it refuses.

mod emulator;
mod images;
mod refusals;
mod seals;
