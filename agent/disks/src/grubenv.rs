//! `meadow/grubenv`: which slot boots.

use meadow_grubenv::{ATTEMPTED, BLESSED, BYTES, BadBlock, Block, FAILURES, MOST_FAILURES, TRIAL, TRY, count};
use meadow_model::install::BootSlot;

/// What the boot loader does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrubEnv {
    /// The slot that it takes without being told otherwise.
    pub blessed: BootSlot,
    /// The slot that it takes once.
    pub tried: Option<BootSlot>,
    /// The slot that was to be taken once last, until one is blessed or written: GRUB clears `try`, not this, so that a
    /// system tells whether it runs because another one was given up.
    pub attempted: Option<BootSlot>,
    /// The slot of the newest start, where it was taken to be tried: GRUB notes it, and notes at every other start that there
    /// is none. So a trial is told from a slot that runs because the blessed one did not start.
    pub trial: Option<BootSlot>,
    /// How often in a row GRUB started the blessed slot and its initrd did not come so far as to take that back. GRUB counts to 3
    /// and gives the other slot a turn then.
    pub failures: u8,
    /// What else is in the file, as it is written there.
    others: Block,
}

impl GrubEnv {
    /// Boots `blessed`, tries nothing.
    #[must_use]
    pub fn blessing(blessed: BootSlot) -> Self {
        Self { blessed, tried: None, attempted: None, trial: None, failures: 0, others: Block::default() }
    }

    /// Boots `blessed` from now on, and tries nothing.
    #[must_use]
    pub(crate) fn with_blessed(self, blessed: BootSlot) -> Self {
        Self { others: self.others, ..Self::blessing(blessed) }
    }

    /// Reads the file as GRUB does: what `blessed` holds but `b`, is slot a.
    ///
    /// # Errors
    /// [`BadBlock`]
    pub fn parse(bytes: &[u8]) -> Result<Self, BadBlock> {
        let mut block = Block::parse(bytes)?;
        let mut slot = |name| block.take(name).and_then(|value| slot(&value));
        Ok(Self {
            blessed: slot(BLESSED).unwrap_or(BootSlot::A),
            tried: slot(TRY),
            attempted: slot(ATTEMPTED),
            trial: slot(TRIAL),
            failures: block.take(FAILURES).and_then(|value| count(&value)).unwrap_or(0),
            others: block,
        })
    }

    /// The file.
    #[must_use]
    pub fn bytes(&self) -> [u8; BYTES] {
        let letter = |slot: Option<BootSlot>| slot.map_or("", BootSlot::letter);
        let failures = self.failures.min(MOST_FAILURES).to_string();
        let mut block = self.others.clone();
        block.put_first(&[
            (BLESSED, self.blessed.letter()),
            (TRY, letter(self.tried)),
            (ATTEMPTED, letter(self.attempted)),
            (TRIAL, letter(self.trial)),
            (FAILURES, failures.as_str()),
        ]);
        block.bytes()
    }
}

fn slot(value: &[u8]) -> Option<BootSlot> {
    match value {
        b"a" => Some(BootSlot::A),
        b"b" => Some(BootSlot::B),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(text: &str) -> Vec<u8> {
        let mut bytes = format!("# GRUB Environment Block\n{text}").into_bytes();
        bytes.resize(BYTES, b'#');
        bytes
    }

    #[test]
    fn what_grub_writes_is_read() {
        let cases = [
            ("", BootSlot::A, None),
            ("blessed=a\n", BootSlot::A, None),
            ("blessed=b\ntry=\n", BootSlot::B, None),
            ("try=b\nblessed=a\n", BootSlot::A, Some(BootSlot::B)),
            ("blessed=c\ntry=x\n", BootSlot::A, None),
            ("blessed=b\ntry=a", BootSlot::B, None),
        ];
        for (text, blessed, tried) in cases {
            let read = GrubEnv::parse(&file(text)).expect("in form");
            assert_eq!((read.blessed, read.tried), (blessed, tried), "{text}");
        }
    }

    #[test]
    fn others_variables_stay() {
        let text = "saved_entry=x\\\ny=z\nblessed=b\n";
        let bytes = GrubEnv::parse(&file(text)).expect("in form").bytes();
        assert!(bytes.starts_with(
            b"# GRUB Environment Block\nblessed=b\ntry=\nattempted=\ntrial=\nfailures=0\nsaved_entry=x\\\ny=z\n###"
        ));
    }

    #[test]
    fn starts_are_counted() {
        for (text, trial, failures) in [
            ("trial=b\nfailures=2\n", Some(BootSlot::B), 2),
            ("failures=x\n", None, 0),
            ("failures=12\n", None, 0),
            ("failures=7\n", None, 0),
        ] {
            let read = GrubEnv::parse(&file(text)).expect("in form");
            assert_eq!((read.trial, read.failures), (trial, failures), "{text}");
        }
        let failing = GrubEnv::parse(&file("trial=b\nfailures=3\nother=x\n")).expect("in form");
        let blessed = failing.with_blessed(BootSlot::B);
        assert_eq!((blessed.trial, blessed.failures, blessed.others.value("other")), (None, 0, Some(&b"x"[..])));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(b: bool, tried in prop::option::of(any::<bool>()), others in "([a-z]{1,20}=[a-z]{0,300}\n){0,9}") {
            let slot = |b| if b { BootSlot::B } else { BootSlot::A };
            let mut environment = GrubEnv::parse(&file(&others)[..BYTES]).unwrap_or(GrubEnv::blessing(BootSlot::A));
            environment.blessed = slot(b);
            environment.tried = tried.map(slot);
            let bytes = environment.bytes();
            let read = GrubEnv::parse(&bytes).unwrap();
            prop_assert_eq!((read.blessed, read.tried), (slot(b), tried.map(slot)));
            prop_assert_eq!(read.bytes(), bytes);
        }
    }
}
