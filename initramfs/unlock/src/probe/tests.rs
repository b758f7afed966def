use std::path::PathBuf;

use meadow_init::state::Probe;
use meadow_model::{Fingerprint, Secret};
use proptest::prelude::*;

use super::*;

const UUID: &str = "0f9c7a1e-5d0c-4a59-9d9e-4c5d6a1f2b3c";

fn preboot(host_key: HostKey) -> Preboot {
    Preboot {
        version: VERSION,
        node: "node-1".parse().unwrap(),
        cluster: "home".to_owned(),
        ca_fingerprint: Fingerprint::of_public_key(b""),
        luks_uuid: UUID.to_owned(),
        installed: true,
        authorized_keys: vec!["ssh-ed25519 AAAA admin".to_owned()],
        network: vec![StaticNetwork {
            mac: Some("52:54:00:00:00:01".parse().unwrap()),
            vlan: Some(7),
            address: "192.0.2.7/24".to_owned(),
            gateway: Some("192.0.2.1".parse().unwrap()),
            dns: Vec::new(),
        }],
        host_key,
    }
}

fn plain(key: &str) -> HostKey {
    HostKey::Plain { key: Secret::new(key.to_owned()), fingerprint: "SHA256:x".to_owned() }
}

fn area(payload: &[u8]) -> Vec<u8> {
    let mut area = vec![0; record::AREA_BYTES];
    let write = record::replace(&area, payload).unwrap();
    area[write.offset..write.offset + write.bytes.len()].copy_from_slice(&write.bytes);
    area
}

/// No volume lies there: the header is not what these tests are about.
fn looked(area: &[u8]) -> Looked {
    answer(area, Path::new("/dev/vda5"), Some(Path::new("/dev/null")), &mut |_| Err("it was cleared".to_owned()))
}

fn state(looked: &Looked) -> &State {
    match &looked.answer {
        Answer::State(state) => state,
        Answer::None { why } => panic!("{why}"),
    }
}

fn why(looked: &Looked) -> &str {
    match &looked.answer {
        Answer::None { why } => why,
        Answer::State(_) => panic!("a state"),
    }
}

#[test]
fn pid_1_understands_the_answer_and_no_secret_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let files = RunFiles::within(folder.path());
    let looked = looked(&area(&serde_json::to_vec(&preboot(plain("c2VjcmV0"))).unwrap()));
    assert_eq!(looked.known.as_ref().unwrap().luks_uuid, UUID);
    let json = finish(looked, &files).unwrap();
    assert!(!String::from_utf8_lossy(&json).contains("c2VjcmV0"));
    let Probe::State(found) = Probe::parse(&json).unwrap() else { panic!("no state") };
    assert_eq!((found.node.as_str(), found.cluster.as_str(), found.own_host_key), ("node-1", "home", true));
    let fixed = meadow_init::network::FixedNetwork::parse(&found.network[0]).unwrap();
    assert_eq!((fixed.text().as_str(), fixed.vlan, fixed.mac), ("192.0.2.7/24", Some(7), Some([82, 84, 0, 0, 0, 1])));
    assert_eq!(std::fs::read(files.host_key()).unwrap(), b"secret");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(files.host_key()).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    let none = finish(super::none("nothing".to_owned()), &files).unwrap();
    assert!(matches!(Probe::parse(&none).unwrap(), Probe::None { why } if why == "nothing"));
}

#[test]
fn a_host_key_that_is_not_there_is_said_and_keeps_nobody_out() {
    let sealed = HostKey::Sealed { blob: String::new(), fingerprint: "SHA256:y".to_owned() };
    for key in [plain("not base64!"), plain(""), plain(&"AAAA".repeat(3000)), sealed] {
        let looked = looked(&area(&serde_json::to_vec(&preboot(key)).unwrap()));
        assert!(looked.host_key.is_none());
        assert!(state(&looked).warnings.iter().any(|text| text.contains("compare its fingerprint")));
    }
}

#[test]
fn a_sealed_host_key_is_asked_of_the_tpm() {
    let sealed = HostKey::Sealed { blob: "what it needs".to_owned(), fingerprint: "SHA256:y".to_owned() };
    let record = area(&serde_json::to_vec(&preboot(sealed)).unwrap());
    let mut give = |blob: &str| {
        assert_eq!(blob, "what it needs");
        Ok(Zeroizing::new(b"a host key".to_vec()))
    };
    let given = answer(&record, Path::new("/dev/vda5"), Some(Path::new("/dev/null")), &mut give);
    assert_eq!(given.host_key.as_ref().unwrap().as_slice(), b"a host key");
    assert_eq!(state(&given).host_key_fingerprint, "SHA256:y");
    let warnings = state(&looked(&record)).warnings.clone();
    assert!(warnings.iter().any(|text| text.contains("it was cleared") && text.contains("--host-key")), "{warnings:?}");
}

#[test]
fn a_disk_whose_reset_began_is_opened_for_nobody() {
    let mut bytes = area(&serde_json::to_vec(&preboot(plain("c2VjcmV0"))).unwrap());
    bytes.extend(Mark::Installs { plan: "12".to_owned(), volume: "34".to_owned() }.bytes());
    assert_eq!(state(&looked(&bytes)).node, "node-1", "an installation goes on elsewhere");
    bytes.truncate(record::AREA_BYTES);
    bytes.extend(Mark::Resets("12".to_owned()).bytes());
    let looked = looked(&bytes);
    assert!(why(&looked).contains("brings it to its end") && looked.known.is_none());
}

#[test]
fn records_that_say_nothing() {
    assert!(why(&looked(&[])).contains("nothing whole"));
    assert!(why(&looked(&vec![0; record::AREA_BYTES])).contains("/dev/vda5 names no node"));
    assert!(why(&looked(&area(b"{}"))).contains("none of Meadow's"));
    assert!(why(&looked(&area(br#"{"version":2}"#))).contains("version 2"));
    assert!(why(&looked(&area(br#"{"version":1}"#))).contains("cannot be understood"));
    assert!(why(&looked(&area(b"\xff"))).contains("none of Meadow's"));
}

#[test]
fn a_missing_damaged_or_exchanged_volume_is_told_before_anybody_types() {
    let whole = serde_json::to_vec(&preboot(plain("c2VjcmV0"))).unwrap();
    let lost = |looked: &Looked| state(looked).lost.clone().unwrap();
    assert!(lost(&looked(&area(&whole))).contains("holds no LUKS2 volume"));
    let gone = answer(&area(&whole), Path::new("/dev/vda5"), None, &mut |_| Err(String::new()));
    assert!(lost(&gone).contains("meadow-state is gone"));
    let folder = tempfile::tempdir().unwrap();
    let device: PathBuf = folder.path().join("state");
    std::fs::File::create(&device).unwrap().set_len(32 << 20).unwrap();
    let volume = meadow_luks::Volume::format(&device, Some(UUID.parse().unwrap())).unwrap();
    drop(volume);
    let look = |area: &[u8]| answer(area, Path::new("/dev/vda5"), Some(&device), &mut |_| Err(String::new()));
    let warnings = |area: &[u8]| state(&look(area)).warnings.clone();
    assert_eq!((warnings(&area(&whole)), &state(&look(&area(&whole))).lost), (Vec::<String>::new(), &None));
    let other = Preboot { luks_uuid: UUID.replace('0', "1"), ..preboot(plain("c2VjcmV0")) };
    assert!(lost(&look(&area(&serde_json::to_vec(&other).unwrap()))).contains("somebody exchanged"));
    let file = std::fs::File::options().write(true).open(&device).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 64], 600).unwrap();
    assert!(warnings(&area(&whole))[0].contains("first copy"), "one copy");
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 64], 0x4000 + 600).unwrap();
    let both = lost(&look(&area(&whole)));
    assert!(both.contains("both copies") && both.contains("restore-header"), "{both}");
}

proptest! {
    #[test]
    fn damaged_records_never_panic(at in 0..700_usize, byte in any::<u8>()) {
        let mut payload = serde_json::to_vec(&preboot(plain("c2VjcmV0"))).unwrap();
        let at = at % payload.len();
        payload[at] = byte;
        let _ = looked(&area(&payload));
    }

    #[test]
    fn nothing_of_a_record_reaches_the_terminal_as_control(cluster in "\\PC{0,8}[\\x00-\\x1f\\x7f]{1,3}\\PC{0,200}") {
        let preboot = Preboot { cluster, ..preboot(plain("c2VjcmV0")) };
        let looked = looked(&area(&serde_json::to_vec(&preboot).unwrap()));
        prop_assert!(!state(&looked).cluster.chars().any(char::is_control));
    }
}
