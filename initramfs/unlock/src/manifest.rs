//! What PID 1 asks before it believes the manifest of an image that a server offers: it has no cryptography of its own.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use meadow_pki::check_manifest;
use serde::Serialize;

/// Public half of the key that this initrd was built with.
const BUILD_KEY: &str = "/meadow/build-key.pem";
/// Bytes of a manifest at most, as everywhere.
const LARGEST_MANIFEST: u64 = 512 << 10;
/// Bytes of a key or a signature at most.
const LARGEST_KEY: u64 = 16 << 10;

/// The answer, as `meadow_init::offer` reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Why the manifest counts for nothing; `None` where the build key signed it.
    pub why: Option<String>,
}

/// Checks the signature, and prints the answer.
#[must_use]
pub fn print(manifest: &Path, signature: &Path) -> ExitCode {
    let checked = check(Path::new(BUILD_KEY), manifest, signature);
    match serde_json::to_vec(&checked).map_err(io::Error::other).and_then(|json| io::stdout().write_all(&json)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Whether the key signed the manifest.
#[must_use]
pub fn check(build_key: &Path, manifest: &Path, signature: &Path) -> Checked {
    let read = || -> io::Result<_> {
        let (key, signature) = (read(build_key, LARGEST_KEY)?, read(signature, LARGEST_KEY)?);
        Ok((key, read(manifest, LARGEST_MANIFEST)?, signature))
    };
    let why = match read() {
        Ok((key, manifest, signature)) => {
            check_manifest(&key, &manifest, &signature).err().map(|error| error.to_string())
        }
        Err(error) => Some(format!("its manifest cannot be checked ({error})")),
    };
    Checked { why }
}

fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Made by openssl(1): RSA with 2048 bits, and its signature over `{}`.
    const KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
         MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA4Kk/B+58zRZn7aLm4FM2\n\
         VKKp9j4UBngg0OcaEopzyHiZDpHq+b3mB3D9+r9ch1QiusE963/z3EGMOBjDaIPe\n\
         yGatR5GHPbrw95tiFW/DwhKsayaXFRonSubIVlGDqp8+F36Lte921iLvIXO1TjBb\n\
         GF/v16naH97mssIwhZDFHqxLItUbnFT9GtL0KtZUTjVpfaLYtzXkxtsMPnAAlke9\n\
         9Al37rZj9XimwYbm7akcdljpsEF4nBdoDJn8L6TWVSfdzzuacWZFu4jQyx9Z9/SZ\n\
         +3+MC+I2qCK7T72ZK5wE0zhKsbIEjrx4bYgYW5wixiHqt/FTMk3WHlP0luUd0g82\n\
         gwIDAQAB\n\
         -----END PUBLIC KEY-----\n";
    const SIGNATURE: &str = "68974f9fdddfd624bcb0ca514ca63973cd3e9532ab9fb6cc725ef5e032789ade11f14614f7034a08e958ea5d982ab3067faa\
         8179d2c11db24b6837b8802b61d3a858ce2a50bce6a8e87158be50d59c9079c9a6ab8bb1a3b43173fd19b7ff9ff769084e3d\
         5d83acab4b50bbbb702a2c90e752e7621d826d1387cc9a7ba90cc3f2ee464524a4e95949e7d8b79fab5e194460c644d7192c\
         b48eba3c27d6150baa54ae86a7fe462d319a2412c9cf7e17ca88619aaca6546a65defb7109f3c300182f5e4265b18a87c00a\
         428fc2205d2ad19b843e9d51a193c60a0935b065ec2f2272348014c9175aead58c7f67cf60f2a863cbe6f2de24bad9a1201f\
         64bcbe9611b4";

    #[test]
    fn only_what_the_key_signed_counts() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let (key, signature) =
            (file("key", KEY.as_bytes()), data_encoding::HEXLOWER.decode(SIGNATURE.as_bytes()).unwrap());
        let (manifest, other) = (file("manifest", b"{}"), file("other", b"{ }"));
        let mut flipped = signature.clone();
        flipped[7] ^= 1;
        let (right, wrong, none) = (file("right", &signature), file("wrong", &flipped), file("none", b""));
        assert_eq!(check(&key, &manifest, &right), Checked { why: None });
        for (manifest, signature) in [(&manifest, &wrong), (&manifest, &none), (&other, &right)] {
            let why = check(&key, manifest, signature).why.unwrap();
            assert!(why.contains("not signed by the key"), "{why}");
        }
        assert!(check(&key, &folder.path().join("gone"), &right).why.unwrap().contains("cannot be checked"));
        assert!(check(&right, &manifest, &right).why.unwrap().contains("PEM"));
    }
}
