//! How much work a try of a key costs. Fixed, never measured: a slot that was made on a fast machine must open on the
//! slowest one, and a measure on a busy machine would make a weak slot.

use libcryptsetup_rs::CryptPbkdfType;
use libcryptsetup_rs::consts::flags::CryptPbkdf;
use libcryptsetup_rs::consts::vals::CryptKdf;
use meadow_model::install::KeyKind;

const ARGON2_MEMORY_KIB: u32 = 128 * 1024;
const ARGON2_PASSES: u32 = 4;
/// libcryptsetup writes one lane where only one processor is online.
const ARGON2_LANES: u32 = 2;
/// The least that libcryptsetup takes; the keys of these slots have 256 random bits, which no work protects further.
const PBKDF2_ROUNDS: u32 = 1000;

/// Argon2id for what people make up, PBKDF2 for random keys.
pub(crate) fn for_kind(kind: KeyKind) -> CryptPbkdfType {
    let slow = kind == KeyKind::Passphrase;
    CryptPbkdfType {
        type_: if slow { CryptKdf::Argon2Id } else { CryptKdf::Pbkdf2 },
        hash: Some("sha256".to_owned()),
        time_ms: 0,
        iterations: if slow { ARGON2_PASSES } else { PBKDF2_ROUNDS },
        max_memory_kb: if slow { ARGON2_MEMORY_KIB } else { 0 },
        parallel_threads: if slow { ARGON2_LANES } else { 0 },
        flags: CryptPbkdf::NO_BENCHMARK,
    }
}
