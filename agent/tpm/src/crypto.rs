//! The little cryptography that a TPM's sessions need: TPM 2.0 Library, Part 1, sections 11.4 and 21.

use aes::Aes128;
use aes::cipher::{BlockEncrypt, KeyInit};
use hmac::{Hmac, Mac};
use p256::elliptic_curve::sec1::{FromEncodedPoint, ToEncodedPoint};
use p256::{AffinePoint, EncodedPoint, PublicKey, SecretKey};
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::TpmError;

/// Bytes of SHA-256, of a nonce and of a coordinate on P-256.
pub(crate) const DIGEST: usize = 32;

/// A digest over pieces.
pub(crate) fn sha256(pieces: &[&[u8]]) -> [u8; DIGEST] {
    pieces.iter().fold(Sha256::new(), |hash, piece| hash.chain_update(piece)).finalize().into()
}

/// HMAC-SHA-256 over pieces.
pub(crate) fn hmac(key: &[u8], pieces: &[&[u8]]) -> [u8; DIGEST] {
    mac(key, pieces).finalize().into_bytes().into()
}

/// Compares in constant time.
pub(crate) fn hmac_is(key: &[u8], pieces: &[&[u8]], expected: &[u8]) -> bool {
    mac(key, pieces).verify_slice(expected).is_ok()
}

fn mac(key: &[u8], pieces: &[&[u8]]) -> Hmac<Sha256> {
    // No key here is longer than a block of the hash, to which HMAC fills it up.
    let mut block = Zeroizing::new([0; 64]);
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    let mut mac = <Hmac<Sha256> as Mac>::new((&*block).into());
    pieces.iter().for_each(|piece| mac.update(piece));
    mac
}

/// `KDFa`: 256 bits.
pub(crate) fn kdf_a(key: &[u8], label: &str, first: &[u8], second: &[u8]) -> Zeroizing<[u8; DIGEST]> {
    let bits = 256_u32.to_be_bytes();
    Zeroizing::new(hmac(key, &[&1_u32.to_be_bytes(), label.as_bytes(), &[0], first, second, &bits]))
}

/// `KDFe`: 256 bits.
fn kdf_e(z: &[u8], label: &str, first: &[u8], second: &[u8]) -> Zeroizing<[u8; DIGEST]> {
    Zeroizing::new(sha256(&[&1_u32.to_be_bytes(), z, label.as_bytes(), &[0], first, second]))
}

/// A secret for whoever has the private half of a public key.
pub(crate) struct Salt {
    /// The secret.
    pub(crate) secret: Zeroizing<[u8; DIGEST]>,
    /// The coordinates of the point that is sent.
    pub(crate) point: ([u8; DIGEST], [u8; DIGEST]),
}

/// Agrees on a secret with a key on P-256 (Part 1, C.6.3): only the TPM with its private half can compute it.
pub(crate) fn salt(x: &[u8], y: &[u8]) -> Result<Salt, TpmError> {
    let wrong = || TpmError::BadAnswer("its key is no point of P-256");
    let (x, y) = (coordinate(x).ok_or_else(wrong)?, coordinate(y).ok_or_else(wrong)?);
    let point = EncodedPoint::from_affine_coordinates(&x.into(), &y.into(), false);
    let point = Option::<AffinePoint>::from(AffinePoint::from_encoded_point(&point)).ok_or_else(wrong)?;
    let theirs = PublicKey::from_affine(point).map_err(|_| wrong())?;
    let ours = loop {
        let bytes: Zeroizing<[u8; DIGEST]> = random()?;
        // Of 2^32 numbers one is not below the order.
        if let Ok(key) = SecretKey::from_slice(bytes.as_slice()) {
            break key;
        }
    };
    let shared = p256::ecdh::diffie_hellman(ours.to_nonzero_scalar(), theirs.as_affine());
    let sent = ours.public_key().to_encoded_point(false);
    let (Some(sent_x), Some(sent_y)) = (sent.x(), sent.y()) else { return Err(wrong()) };
    let secret = kdf_e(shared.raw_secret_bytes(), "SECRET", sent_x, &x);
    Ok(Salt { secret, point: ((*sent_x).into(), (*sent_y).into()) })
}

/// A TPM may leave out leading zeros.
fn coordinate(bytes: &[u8]) -> Option<[u8; DIGEST]> {
    let mut whole = [0; DIGEST];
    whole.get_mut(DIGEST.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(whole)
}

/// AES-128 in CFB mode with a key and a vector out of 32 bytes; `encrypt` or back.
pub(crate) fn cfb(material: &[u8; DIGEST], data: &mut [u8], encrypt: bool) {
    let (key, vector) = material.split_at(16);
    let cipher = Aes128::new(aes::cipher::generic_array::GenericArray::from_slice(key));
    let mut block = *aes::cipher::generic_array::GenericArray::from_slice(vector);
    for piece in data.chunks_mut(16) {
        cipher.encrypt_block(&mut block);
        for (byte, mask) in piece.iter_mut().zip(block.iter_mut()) {
            let before = *byte;
            *byte ^= *mask;
            *mask = if encrypt { *byte } else { before };
        }
    }
}

/// Random bytes from the kernel, once its generator is seeded.
pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, TpmError> {
    let mut bytes = Zeroizing::new([0; N]);
    let mut done = 0;
    while let Some(room) = bytes.get_mut(done..).filter(|room| !room.is_empty()) {
        match getrandom(room, GetRandomFlags::empty()) {
            Ok(got) => done += got,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(TpmError::Io(error.into())),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cfb_is_that_of_nist() {
        // SP 800-38A, F.3.13: CFB128-AES128.
        let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        let material: [u8; 32] =
            hex("2b7e151628aed2a6abf7158809cf4f3c000102030405060708090a0b0c0d0e0f").try_into().unwrap();
        let plain = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
        let mut data = plain.clone();
        cfb(&material, &mut data, true);
        assert_eq!(data, hex("3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b"));
        cfb(&material, &mut data, false);
        assert_eq!(data, plain);
    }

    #[test]
    fn points_that_are_none_are_refused() {
        assert!(salt(&[1; 32], &[2; 32]).is_err());
        assert!(salt(&[0; 33], &[2; 32]).is_err());
    }
}
