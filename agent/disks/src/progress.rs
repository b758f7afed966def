//! How far a step is.

/// Hears of every step: what it is, and how far it is in percent.
pub type Progress<'a> = dyn FnMut(&str, Option<u8>) + 'a;

/// Turns bytes into percents, and says each one once.
pub(crate) struct Counter<'a> {
    step: &'a str,
    all: u64,
    done: u64,
    told: Option<u64>,
}

impl<'a> Counter<'a> {
    pub(crate) fn new(step: &'a str, all: u64) -> Self {
        Self { step, all, done: 0, told: None }
    }

    pub(crate) fn add(&mut self, bytes: u64, progress: &mut Progress<'_>) {
        self.done = self.done.saturating_add(bytes).min(self.all);
        let percent = self.done.saturating_mul(100) / self.all.max(1);
        if self.told != Some(percent) {
            self.told = Some(percent);
            progress(self.step, u8::try_from(percent).ok());
        }
    }
}
