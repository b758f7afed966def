//! A line that somebody types into.

use meadow_model::Secret;
use zeroize::Zeroize;

use crate::keys::Key;

/// Characters; cryptsetup takes no longer passphrase.
const LONGEST: usize = 512;

/// The line. Wiped when it goes: it may be a passphrase.
pub(crate) struct Field {
    text: String,
}

impl Default for Field {
    fn default() -> Self {
        // Never moved while it grows: a copy would stay behind in memory.
        Self { text: String::with_capacity(LONGEST * 4) }
    }
}

impl Field {
    pub(crate) fn of(text: &str) -> Self {
        let mut field = Self::default();
        text.chars().take(LONGEST).for_each(|character| field.text.push(character));
        field
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What was typed, gone from here.
    pub(crate) fn take(&mut self) -> Secret<String> {
        let taken = Secret::new(self.text.clone());
        self.text.zeroize();
        taken
    }

    /// Takes a key that writes; whether it was one.
    pub(crate) fn press(&mut self, key: Key) -> bool {
        match key {
            Key::Char(character) if self.text.chars().count() < LONGEST => self.text.push(character),
            Key::Char(_) => {}
            Key::Erase => drop(self.text.pop()),
            _ => return false,
        }
        true
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        self.text.zeroize();
    }
}
