//! Real packets, damaged: bits and bytes changed, parts cut out, repeated or put in.

use proptest::prelude::*;
use proptest::sample::Index;

#[derive(Debug, Clone)]
enum Mutation {
    FlipBit(Index, u8),
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Repeat(Index, usize),
    Remove(Index, usize),
    Truncate(Index),
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        let part = |at: &Index, size: usize| at.index(length)..(at.index(length) + size).min(length);
        match self {
            Self::FlipBit(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Self::Set(at, value) => bytes[at.index(length)] = *value,
            Self::Insert(at, inserted) => {
                let at = at.index(length);
                bytes.splice(at..at, inserted.iter().copied());
            }
            Self::Repeat(at, size) => bytes.extend_from_within(part(at, *size)),
            Self::Remove(at, size) => {
                bytes.drain(part(at, *size));
            }
            Self::Truncate(at) => bytes.truncate(at.index(length)),
        }
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<Index>;
    // Lengths and numbers go wrong at their ends.
    let value = || prop_oneof![any::<u8>(), Just(0), Just(1), Just(0x7f), Just(0x80), Just(0xff)];
    prop_oneof![
        4 => (at(), 0..8_u8).prop_map(|(at, bit)| Mutation::FlipBit(at, bit)),
        4 => (at(), value()).prop_map(|(at, value)| Mutation::Set(at, value)),
        2 => (at(), prop::collection::vec(value(), 1..40)).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        1 => (at(), 1..300_usize).prop_map(|(at, size)| Mutation::Repeat(at, size)),
        2 => (at(), 1..40_usize).prop_map(|(at, size)| Mutation::Remove(at, size)),
        1 => at().prop_map(Mutation::Truncate),
    ]
}

/// One of these packets after up to eleven mutations; some come out whole.
pub fn mutated_from(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(seeds), prop::collection::vec(mutation(), 0..12)).prop_map(|(mut bytes, mutations)| {
        for mutation in mutations {
            mutation.apply(&mut bytes);
        }
        bytes
    })
}
