//! A backup of a LUKS2 header on its way from a node: only the bytes that are not zero, since most of its 16 MiB is room
//! for key slots that nobody uses.

use std::io::{self, Write};

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::Secret;

/// Bytes of a packed backup; eleven key slots need no more.
pub const LARGEST_PACKED: usize = 4 << 20;
/// A header with all room for key slots has 16 MiB.
pub const LARGEST_HEADER: u64 = 32 << 20;
/// What is looked at for zeros at once.
const BLOCK: usize = 4096;

/// A header that is sent; who has it and a passphrase of its time opens the volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderBackup {
    /// Size of the header in bytes.
    size: u64,
    /// What is not zero, by place.
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Piece {
    at: u64,
    bytes: Secret<String>,
}

/// A backup that cannot be sent, or did not arrive whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBackup {
    /// More key slots than travel.
    #[error("the header has too many key slots to be sent; remove those that nobody needs (`meadow node keys ls`)")]
    TooLarge,
    /// Not what a node sends.
    #[error("the backup is damaged; ask for it again")]
    Damaged,
}

impl HeaderBackup {
    /// Of all bytes of a header.
    #[must_use]
    pub fn of(header: &[u8]) -> Self {
        let mut pieces = Vec::new();
        let mut blocks = header.chunks(BLOCK).zip((0..).step_by(BLOCK)).peekable();
        while let Some((block, start)) = blocks.next() {
            if block.iter().all(|byte| *byte == 0) {
                continue;
            }
            let mut end = start + block.len();
            while let Some((more, _)) = blocks.next_if(|(more, _)| more.iter().any(|byte| *byte != 0)) {
                end += more.len();
            }
            let bytes = header.get(start..end).unwrap_or_default();
            pieces.push(Piece { at: start as u64, bytes: Secret::new(BASE64.encode(bytes)) });
        }
        Self { size: header.len() as u64, pieces }
    }

    /// As text.
    ///
    /// # Errors
    /// [`BadBackup::TooLarge`]
    pub fn pack(&self) -> Result<Secret<String>, BadBackup> {
        let text = Secret::new(serde_json::to_string(self).map_err(|_| BadBackup::Damaged)?);
        if text.expose().len() > LARGEST_PACKED { Err(BadBackup::TooLarge) } else { Ok(text) }
    }

    /// From such a text.
    ///
    /// # Errors
    /// [`BadBackup`]
    pub fn unpack(text: &Secret<String>) -> Result<Self, BadBackup> {
        if text.expose().len() > LARGEST_PACKED {
            return Err(BadBackup::TooLarge);
        }
        let backup: Self = serde_json::from_str(text.expose()).map_err(|_| BadBackup::Damaged)?;
        if backup.size > LARGEST_HEADER { Err(BadBackup::Damaged) } else { Ok(backup) }
    }

    /// Writes the whole header, zeros included.
    ///
    /// # Errors
    /// What writing says; [`BadBackup::Damaged`] as [`io::ErrorKind::InvalidData`].
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, BadBackup::Damaged);
        let mut at = 0;
        for piece in &self.pieces {
            zeros(&mut to, piece.at.checked_sub(at).filter(|_| piece.at <= self.size).ok_or_else(damaged)?)?;
            let bytes = BASE64.decode(piece.bytes.expose().as_bytes()).map_err(|_| damaged())?;
            at = piece.at + bytes.len() as u64;
            to.write_all(&bytes)?;
        }
        zeros(&mut to, self.size.checked_sub(at).ok_or_else(damaged)?)
    }
}

fn zeros(to: &mut impl Write, mut count: u64) -> io::Result<()> {
    let block = [0; BLOCK];
    while let Some(some) =
        block.get(..usize::try_from(count).unwrap_or(BLOCK).min(BLOCK)).filter(|some| !some.is_empty())
    {
        to.write_all(some)?;
        count -= some.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(backup: &HeaderBackup) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        backup.write(&mut bytes).map(|()| bytes)
    }

    proptest! {
        #[test]
        fn a_header_arrives_as_it_was(parts in proptest::collection::vec((any::<u8>(), 0_usize..9000), 0..8)) {
            let header: Vec<u8> = parts.into_iter().flat_map(|(byte, count)| vec![byte & 1; count]).collect();
            let backup = HeaderBackup::unpack(&HeaderBackup::of(&header).pack().expect("small")).expect("whole");
            prop_assert_eq!(written(&backup).expect("written"), header);
        }

        #[test]
        fn what_a_node_makes_up_is_bounded(size in any::<u64>(), at in any::<u64>(), next in any::<u64>()) {
            let text = serde_json::json!({"size": size, "pieces": [{"at": at, "bytes": "eHg="}, {"at": next, "bytes": "eHg="}]});
            if let Ok(backup) = HeaderBackup::unpack(&Secret::new(text.to_string()))
                && let Ok(bytes) = written(&backup)
            {
                prop_assert!(bytes.len() as u64 <= LARGEST_HEADER);
            }
        }
    }

    #[test]
    fn only_what_is_there_is_sent() {
        let mut header = vec![0; 16 << 20];
        header[5000] = 1;
        header[(16 << 20) - 1] = 1;
        assert!(HeaderBackup::of(&header).pack().expect("small").expose().len() < 16 << 10);
        assert_eq!(HeaderBackup::of(&vec![1; 8 << 20]).pack(), Err(BadBackup::TooLarge));
        let unread = HeaderBackup::unpack(&Secret::new("no backup".to_owned()));
        assert_eq!(unread, Err(BadBackup::Damaged));
    }
}
