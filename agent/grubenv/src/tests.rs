use proptest::prelude::*;

use super::*;

fn file(text: &str) -> Vec<u8> {
    let mut bytes = [SIGNATURE, text.as_bytes()].concat();
    bytes.resize(BYTES, FILL);
    bytes
}

fn block(text: &str) -> Block {
    Block::parse(&file(text)).expect("in form")
}

#[test]
fn values_are_read_as_grub_reads_them() {
    let cases: [(&str, Option<&[u8]>); 7] = [
        ("", None),
        ("blessed=b\ntry=\n", Some(b"b")),
        ("blessed=\n", Some(b"")),
        ("blessed=a\nblessed=b\n", Some(b"b")),
        ("unblessed=b\nblessed\n", None),
        ("x=y\\\nblessed=b\n", None),
        ("blessed=b", None),
    ];
    for (text, value) in cases {
        assert_eq!(block(text).value(BLESSED), value, "{text}");
    }
}

#[test]
fn only_what_the_script_counts_is_a_count() {
    for (value, expected) in [("0", Some(0)), ("3", Some(3)), ("4", None), ("00", None), ("+1", None), ("", None)] {
        assert_eq!(count(value.as_bytes()), expected, "{value}");
    }
}

#[test]
fn a_change_leaves_the_others_where_they_are() {
    let mut changed = block("a=b\\\nc\nfailures=2\nno variable\nblessed=a\n");
    assert!(changed.change(FAILURES, "0") && !changed.change(TRIAL, "b"));
    assert_eq!(changed.bytes()[..], file("a=b\\\nc\nfailures=0\nno variable\nblessed=a\n"));
}

#[test]
fn ours_come_first_and_what_does_not_fit_goes() {
    let long = "x".repeat(900);
    let mut full = block(&format!("blessed=a\nlong={long}\nlast=1\nblessed=b\n"));
    full.put_first(&[(BLESSED, "b"), (TRY, "y".repeat(100).as_str())]);
    assert_eq!(full.bytes()[..], file(&format!("blessed=b\ntry={}\nlast=1\n", "y".repeat(100))));
    // To the last byte.
    let exact = "z".repeat(BYTES - SIGNATURE.len() - 3);
    let mut exactly = Block::default();
    exactly.put_first(&[("z", exact.as_str())]);
    assert_eq!(exactly.bytes()[..], file(&format!("z={exact}\n")));
    exactly.put_first(&[("z", (exact + "z").as_str())]);
    assert_eq!(exactly.bytes()[..], file(""));
}

#[test]
fn other_files_are_refused() {
    let (mut short, mut long) = (file(""), file(""));
    short.pop();
    long.push(FILL);
    for bytes in [Vec::new(), vec![0; BYTES], vec![FILL; BYTES], short, long] {
        assert!(Block::parse(&bytes).is_err(), "{} bytes", bytes.len());
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(lines in "([a-z]{1,9}=[a-z\\\\#]{0,300}\n){0,9}", blessed in "[ab]") {
        let mut written = block(&lines[..lines.len().min(900)]);
        written.put_first(&[(BLESSED, blessed.as_str())]);
        let read = Block::parse(&written.bytes()).unwrap();
        prop_assert_eq!(read.value(BLESSED), Some(blessed.as_bytes()));
        prop_assert_eq!(read.bytes(), written.bytes());
    }

    #[test]
    fn any_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..1100)) {
        let _ = Block::parse(&bytes);
        let mut framed = [SIGNATURE, &bytes[..]].concat();
        framed.resize(BYTES, FILL);
        let mut block = Block::parse(&framed).unwrap();
        prop_assert_eq!(Block::parse(&block.bytes()), Ok(block.clone()));
        block.change(FAILURES, "1");
        block.put_first(&[(TRIAL, "b")]);
        let _ = block.bytes();
    }
}
