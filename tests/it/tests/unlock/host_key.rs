//! Host keys: the node's, of which only the public half is known, and those of somebody in the middle.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use data_encoding::{BASE64, BASE64_NOPAD};
use sha2::{Digest, Sha256};

const KEY: &str = "ssh-ed25519";
const CERTIFICATE: &str = "ssh-ed25519-cert-v01@openssh.com";

/// A host key as it is shown to clients.
#[derive(Clone, Debug)]
pub(crate) struct HostKey {
    /// What it is negotiated as.
    pub(crate) algorithm: &'static str,
    /// What is shown: the public half, or a certificate of it.
    pub(crate) blob: Vec<u8>,
    /// The private half (PEM), where somebody has it.
    private: Option<PathBuf>,
}

impl HostKey {
    /// A key that somebody makes for himself, with files in `folder`.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        let private = folder.join("key.pem");
        run(Command::new("openssl").args(["genpkey", "-algorithm", "ed25519", "-out"]).arg(&private))?;
        let public = run(Command::new("openssl").args(["pkey", "-pubout", "-outform", "DER", "-in"]).arg(&private))?;
        let (_, point) = public.stdout.split_last_chunk::<32>().context("no public key")?;
        Ok(Self { algorithm: KEY, blob: [string(KEY.as_bytes()), string(point)].concat(), private: Some(private) })
    }

    /// As whoever has seen it only can show it.
    pub(crate) fn without_private_half(&self) -> Self {
        Self { private: None, ..self.clone() }
    }

    /// The same key with a certificate for any host, by a CA whose private key lies in `ca`.
    pub(crate) fn certified_by(&self, ca: &Path, folder: &Path) -> Result<Self> {
        let public = folder.join("key.pub");
        fs::write(&public, self.line())?;
        run(Command::new("ssh-keygen").args(["-q", "-h", "-I", "middle", "-s"]).arg(ca).arg(&public))?;
        let text = fs::read_to_string(folder.join("key-cert.pub"))?;
        let blob = BASE64.decode(text.split_whitespace().nth(1).context("no certificate")?.as_bytes())?;
        Ok(Self { algorithm: CERTIFICATE, blob, private: self.private.clone() })
    }

    /// As in a file of public keys.
    pub(crate) fn line(&self) -> String {
        format!("{} {}\n", self.algorithm, BASE64.encode(&self.blob))
    }

    /// `SHA256:…`, as ssh-keygen(1) shows it.
    pub(crate) fn fingerprint(&self) -> String {
        format!("SHA256:{}", BASE64_NOPAD.encode(&Sha256::digest(&self.blob)))
    }

    /// Signs; with nonsense where nobody has the private half.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let Some(private) = &self.private else { return Ok(vec![0; 64]) };
        let file = private.with_extension("message");
        fs::write(&file, message)?;
        let mut openssl = Command::new("openssl");
        openssl.args(["pkeyutl", "-sign", "-rawin", "-inkey"]).arg(private).arg("-in").arg(&file);
        Ok(run(&mut openssl)?.stdout)
    }
}

/// A CA's key pair in `folder`: the private half, and the public one as a line.
pub(crate) fn certificate_authority(folder: &Path) -> Result<(PathBuf, String)> {
    let private = folder.join("ca");
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&private))?;
    let public = fs::read_to_string(private.with_extension("pub"))?;
    Ok((private, public))
}

/// Bytes behind their length, a `string` of RFC 4251.
pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], bytes].concat()
}

fn run(command: &mut Command) -> Result<Output> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output)
}
