use std::path::Path;

use super::*;
use crate::throttle::LONG_PAUSE;

const UUID: &str = "0f9c7a1e-5d0c-4a59-9d9e-4c5d6a1f2b3c";

/// A volume in a file with a recovery key, which is quick to try. Opening it needs dm-crypt, which the build host lacks;
/// the machine tests do that.
fn volume(folder: &Path) -> (Known, String) {
    let device = folder.join("state");
    File::create(&device).unwrap().set_len(32 << 20).unwrap();
    let (mut volume, key) = Volume::format(&device, Some(UUID.parse().unwrap())).unwrap();
    let recovery = volume.add_recovery(&key, None).unwrap().text().to_string();
    let node = "node-1".parse().unwrap();
    let known = Known { device, luks_uuid: UUID.to_owned(), node, cluster: "home".to_owned(), pin: false };
    (known, recovery)
}

fn wrong_recovery_key() -> String {
    meadow_luks::RecoveryKey::generate().unwrap().text().to_string()
}

struct Bench {
    _folder: tempfile::TempDir,
    files: RunFiles,
    known: Known,
    news: News,
    recovery: String,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = RunFiles::within(folder.path());
        let (known, recovery) = volume(folder.path());
        let news = News::listen(&files).unwrap();
        Self { _folder: folder, files, known, news, recovery }
    }

    fn run(&self, typed: &str) -> Outcome {
        let attempt = Attempt { files: &self.files, known: &self.known, news: &self.news, place: "ssh" };
        attempt.run(typed, &mut |_| ())
    }

    fn attempts(&self) -> Attempts {
        load(&self.files.attempts()).unwrap_or_default()
    }
}

#[test]
fn a_wrong_key_is_counted_and_a_typing_error_is_not() {
    let bench = Bench::new();
    let mut typo = bench.recovery.clone();
    let last = if typo.ends_with('c') { "b" } else { "c" };
    typo.replace_range(typo.len() - 1.., last);
    assert!(matches!(bench.run(&typo), Outcome::Wrong(text) if text.contains("group 8")));
    assert!(matches!(bench.run(""), Outcome::Wrong(_)));
    assert_eq!(bench.attempts(), Attempts::default());
    assert!(matches!(bench.run(&wrong_recovery_key()), Outcome::Wrong(text) if text.contains("(1 wrong so far)")));
    let before = uptime();
    assert!(matches!(bench.run(&wrong_recovery_key()), Outcome::Wrong(text) if text.contains("(2 wrong so far)")));
    assert!(uptime() - before > Duration::from_millis(500), "the second one has to wait");
    assert_eq!(bench.attempts().wrong, 2);
}

#[test]
fn after_many_only_a_long_pause_is_offered_and_nothing_is_tried() {
    let bench = Bench::new();
    let many = Attempts { wrong: MANY - 1, ..Attempts::default() }.failed(uptime());
    store(&bench.files.attempts(), &many).unwrap();
    assert!(matches!(bench.run(&bench.recovery), Outcome::Later(pause) if pause > LONG_PAUSE / 2));
    assert_eq!(bench.attempts(), many);
}

#[test]
fn no_key_is_given_to_another_volume_and_a_damaged_one_is_said() {
    let mut bench = Bench::new();
    bench.known.luks_uuid = UUID.replace('0', "1");
    assert!(matches!(bench.run(&bench.recovery), Outcome::Impossible(text) if text.contains("somebody exchanged")));
    assert_eq!(bench.attempts(), Attempts::default());
    std::fs::write(&bench.known.device, [0; 1 << 20]).unwrap();
    assert!(matches!(bench.run(&bench.recovery), Outcome::Impossible(text) if text.contains("install the node again")));
}

#[test]
fn who_comes_late_is_told() {
    let bench = Bench::new();
    let opened = Opened { kind: meadow_model::install::KeyKind::Passphrase, slot: 0, place: "tty1".to_owned() };
    store(&bench.files.opened(), &opened).unwrap();
    assert_eq!(bench.run(&wrong_recovery_key()), Outcome::OpenedElsewhere(opened));
}

#[test]
fn what_is_short_is_a_pin_only_where_a_tpm_wants_one() {
    let mut bench = Bench::new();
    let attempt = |bench: &Bench, typed: &str| {
        let attempt = Attempt { files: &bench.files, known: &bench.known, news: &bench.news, place: "ssh" };
        attempt.understand(typed).map(|typed| matches!(typed, Typed::Pin(_)))
    };
    assert!(!attempt(&bench, "4711").unwrap());
    bench.known.pin = true;
    assert!(attempt(&bench, "4711\n").unwrap());
    assert!(!attempt(&bench, "a passphrase").unwrap() && !attempt(&bench, &bench.recovery).unwrap());
    assert!(attempt(&bench, "").is_err());
    // The volume has no slot for it: nothing was guessed, and nothing is counted.
    assert!(matches!(bench.run("4711"), Outcome::Impossible(_)));
    assert_eq!(bench.attempts(), Attempts::default());
}
