//! `meadow/grubenv`: which slot boots, in GRUB's own form.

use meadow_model::install::BootSlot;

/// Bytes of the file. GRUB writes it in place, so it never changes its size.
pub(crate) const BYTES: usize = 1024;
const SIGNATURE: &[u8] = b"# GRUB Environment Block\n";
const FILL: u8 = b'#';
/// As far as GRUB's script counts.
const MOST_FAILURES: u8 = 3;

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
    others: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The file is not in GRUB's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("meadow/grubenv is not in GRUB's form ({0}); the boot loader takes slot a then")]
pub struct BadGrubEnv(&'static str);

impl GrubEnv {
    /// Boots `blessed`, tries nothing.
    #[must_use]
    pub fn blessing(blessed: BootSlot) -> Self {
        Self { blessed, tried: None, attempted: None, trial: None, failures: 0, others: Vec::new() }
    }

    /// Boots `blessed` from now on, and tries nothing.
    #[must_use]
    pub(crate) fn with_blessed(self, blessed: BootSlot) -> Self {
        Self { others: self.others, ..Self::blessing(blessed) }
    }

    /// Reads the file as GRUB does: what `blessed` holds but `b`, is slot a.
    ///
    /// # Errors
    /// [`BadGrubEnv`]
    pub fn parse(bytes: &[u8]) -> Result<Self, BadGrubEnv> {
        let mut rest = bytes.strip_prefix(SIGNATURE).ok_or(BadGrubEnv("its first line is another one"))?;
        if bytes.len() != BYTES {
            return Err(BadGrubEnv("it has not 1024 bytes"));
        }
        let mut environment = Self::blessing(BootSlot::A);
        while let Some((line, tail)) = next_line(rest) {
            rest = tail;
            let Some(equals) = line.iter().position(|byte| *byte == b'=') else { continue };
            let (name, value) = (&line[..equals], &line[equals + 1..]);
            match name {
                b"blessed" => environment.blessed = slot(value).unwrap_or(BootSlot::A),
                b"try" => environment.tried = slot(value),
                b"attempted" => environment.attempted = slot(value),
                b"trial" => environment.trial = slot(value),
                b"failures" => environment.failures = failures(value),
                _ => environment.others.push((name.to_vec(), value.to_vec())),
            }
        }
        Ok(environment)
    }

    /// The file.
    #[must_use]
    pub fn bytes(&self) -> [u8; BYTES] {
        let letter = |slot: Option<BootSlot>| slot.map_or("", BootSlot::letter).as_bytes().to_vec();
        let slots = [
            ("blessed", Some(self.blessed)),
            ("try", self.tried),
            ("attempted", self.attempted),
            ("trial", self.trial),
        ];
        let slots = slots.map(|(name, slot)| (name.as_bytes().to_vec(), letter(slot)));
        let failures = (b"failures".to_vec(), self.failures.min(MOST_FAILURES).to_string().into_bytes());
        let mut bytes = SIGNATURE.to_vec();
        for (name, value) in slots.iter().chain([&failures]).chain(&self.others) {
            // Others' variables that do not fit are dropped; ours come first and always do.
            if bytes.len() + name.len() + value.len() + 2 <= BYTES {
                bytes.extend_from_slice(name);
                bytes.push(b'=');
                bytes.extend_from_slice(value);
                bytes.push(b'\n');
            }
        }
        let mut file = [FILL; BYTES];
        file[..bytes.len()].copy_from_slice(&bytes);
        file
    }
}

/// A line and what follows it. A backslash takes the next byte's meaning away; what fills the file is no line.
fn next_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if bytes.first().is_none_or(|byte| *byte == FILL) {
        return None;
    }
    let mut escaped = false;
    let end = bytes.iter().position(|byte| {
        let ends = *byte == b'\n' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    })?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

fn failures(value: &[u8]) -> u8 {
    match value {
        [digit @ b'0'..=b'9'] => (digit - b'0').min(MOST_FAILURES),
        _ => 0,
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
        bytes.resize(BYTES, FILL);
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
            ("failures=7\n", None, 3),
        ] {
            let read = GrubEnv::parse(&file(text)).expect("in form");
            assert_eq!((read.trial, read.failures), (trial, failures), "{text}");
        }
        let failing = GrubEnv::parse(&file("trial=b\nfailures=3\nother=x\n")).expect("in form");
        let blessed = failing.with_blessed(BootSlot::B);
        assert_eq!((blessed.trial, blessed.failures, blessed.others.len()), (None, 0, 1));
    }

    #[test]
    fn other_files_are_refused() {
        assert!(GrubEnv::parse(b"").is_err());
        assert!(GrubEnv::parse(&[0; BYTES]).is_err());
        assert!(GrubEnv::parse(&file("")[..1000]).is_err());
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

        #[test]
        fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..1100)) {
            let _ = GrubEnv::parse(&bytes);
            let mut framed = SIGNATURE.to_vec();
            framed.extend(bytes);
            framed.resize(BYTES, FILL);
            let _ = GrubEnv::parse(&framed).unwrap().bytes();
        }
    }
}
