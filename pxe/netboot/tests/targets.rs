//! Every parser and state machine as a named target (`hostile.rs` has more of the DHCP engines): any bytes, and damaged seeds.
//!
//! Seeds are the captures of `testdata/` and the files of `testdata/corpus/TARGET/`, which all must pass as they are too.
//! Input that once broke a target is written there, in hex with a line that says what it is. `PROPTEST_CASES` sets how
//! many cases each property gets (default 256, `make soak` 4096), `PROPTEST_RNG_SEED` makes a run repeatable.

#[path = "support/checks.rs"]
#[allow(missing_docs, unreachable_pub, reason = "helpers of the tests in this folder")]
mod checks;
#[path = "support/connection_checks.rs"]
#[allow(missing_docs, unreachable_pub, reason = "helpers of the tests in this folder")]
mod connection_checks;
#[path = "support/history_checks.rs"]
#[allow(missing_docs, unreachable_pub, reason = "helpers of the tests in this folder")]
mod history_checks;
#[path = "support/leases.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "helpers of the tests in this folder")]
mod leases;
#[path = "support/mutation.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "helpers of the tests in this folder")]
mod mutation;
#[path = "support/packets.rs"]
#[allow(dead_code, reason = "the other tests use all of it")]
mod packets;

use std::path::Path;

use packets::{captured, from_hex};

/// What a target starts from.
#[allow(clippy::disallowed_methods, reason = "the corpus is ours, and no limit is needed")]
fn seeds(target: &str, captures: &[&str]) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("a corpus").map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    let written = files.iter().map(|file| from_hex(&std::fs::read_to_string(file).expect("hex")));
    written.chain(captures.iter().map(|name| captured(name))).collect()
}

macro_rules! target {
    ($name:ident, $longest:expr, [$($capture:expr),*]) => {
        target!(checks, $name, $longest, [$($capture),*]);
    };
    ($checks:ident, $name:ident, $longest:expr, [$($capture:expr),*]) => {
        mod $name {
            use proptest::prelude::*;

            use crate::$checks::$name as check;
            use crate::mutation::mutated_from;

            fn seeds() -> Vec<Vec<u8>> {
                super::seeds(stringify!($name), &[$($capture),*])
            }

            #[test]
            fn takes_its_corpus() {
                for seed in seeds() {
                    check(&seed).unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&seed)));
                }
            }

            proptest! {
                #[test]
                fn takes_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..$longest)) {
                    check(&bytes)?;
                }

                #[test]
                fn takes_damaged_seeds(bytes in mutated_from(seeds())) {
                    check(&bytes)?;
                }
            }
        }
    };
}

target!(
    dhcp_request,
    700,
    ["ovmf-pxe-discover", "ipxe-rom-bios-request", "ipxe-snponly-discover", "ovmf-http-discover"]
);
target!(tftp_request, 600, ["ovmf-tftp-read", "ovmf-tftp-size"]);
target!(tftp_transfer, 300, []);
target!(http_head, 400, ["curl-http-range", "ipxe-rom-http-get"]);
target!(http_range, 60, []);
target!(connection_checks, http_connection, 600, []);
target!(icmpv6, 100, ["ipxe-rom-router-solicitation"]);
target!(path, 200, []);
target!(script, 200, []);
target!(captured_frame, 300, []);
target!(log_text, 200, []);
target!(history_checks, proxy_history, 900, []);
target!(history_checks, lease_history, 900, []);
target!(history_checks, other_server, 700, []);
target!(history_checks, lease_settings, 80, []);
target!(history_checks, boot_progress, 60, []);
