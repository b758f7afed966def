//! Fetches an image that the cluster adopted, by its digest, from whoever has it: the voter, or a node that runs it.

use data_encoding::{BASE64, HEXLOWER};
use meadow_client::{ArtifactError, fetch_artifact};
use meadow_host::files;
use meadow_model::work::ImageTask;
use meadow_pki::{PkiError, check_release};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

use crate::image_manifest::{ImageManifest, LARGEST_MANIFEST};
use crate::image_store::{ImageStore, MANIFEST, SIGNATURE, StoreError};

/// The image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No source sends it.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// Nobody has it.
    #[error("nobody is known who has this image; add it again with `meadow image add`")]
    NoSource,
    /// It cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file.
    #[error(transparent)]
    File(#[from] files::FileError),
    /// The source sent another manifest.
    #[error("{0} sent another image than the one that was asked for")]
    Other(String),
    /// The release key did not sign it.
    #[error(transparent)]
    Release(#[from] PkiError),
    /// It is for other computers.
    #[error("the image is for {image} processors, and this node has {node}")]
    Architecture {
        /// The image's.
        image: String,
        /// The node's.
        node: &'static str,
    },
}

/// Fetches adopted images.
#[derive(Clone, Debug)]
pub struct ImageFetcher {
    /// Where images are kept.
    pub store: ImageStore,
    /// File with the public half of the key that this node's own image was built with.
    pub build_key: PathBuf,
    /// The cluster's release key, as DER in base64.
    pub release_key: String,
}

impl ImageFetcher {
    /// Fetches what is missing of an image, and checks both signatures and every digest; the folder that holds it.
    /// All other images go: a node needs room.
    ///
    /// # Errors
    /// [`FetchError`]
    pub async fn fetch(&self, task: &ImageTask, mut progress: impl FnMut(&str, u8)) -> Result<PathBuf, FetchError> {
        self.store.keep_only(&task.digest)?;
        let mut last = FetchError::NoSource;
        for source in &task.sources {
            match self.fetch_from(source, task, &mut progress).await {
                Ok(folder) => return Ok(folder),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn fetch_from(
        &self,
        source: &str,
        task: &ImageTask,
        progress: &mut impl FnMut(&str, u8),
    ) -> Result<PathBuf, FetchError> {
        let folder = format!("images/{}", task.digest);
        let manifest = small(source, &folder, MANIFEST).await?;
        if HEXLOWER.encode(&Sha256::digest(&manifest)) != task.digest {
            return Err(FetchError::Other(source.to_owned()));
        }
        let release = BASE64.decode(task.release_signature.as_bytes()).unwrap_or_default();
        let key = BASE64.decode(self.release_key.as_bytes()).unwrap_or_default();
        check_release(&key, &manifest, &release)?;
        let build_key = files::read(&self.build_key, 16 * 1024)?;
        let missing = self.store.offer(&build_key, &manifest, &small(source, &folder, SIGNATURE).await?)?.missing;
        let parsed = self.store.manifest(&task.digest)?;
        fits(&parsed)?;
        let (whole, mut done) = (missing.iter().map(|part| part.size).sum::<u64>(), 0);
        for part in missing {
            let mut offset = 0;
            let take = |piece: &[u8]| {
                offset = self.store.put(&task.digest, &part.name, offset, piece).map_err(std::io::Error::other)?;
                progress(&part.name, percent(done + offset, whole));
                Ok(())
            };
            fetch_artifact(source, &folder, &part.name, part.size, take).await?;
            done += part.size;
        }
        Ok(self.store.complete(&task.digest)?)
    }
}

fn fits(manifest: &ImageManifest) -> Result<(), FetchError> {
    let node = std::env::consts::ARCH;
    if manifest.architecture == node {
        return Ok(());
    }
    Err(FetchError::Architecture { image: manifest.architecture.clone(), node })
}

async fn small(source: &str, folder: &str, name: &str) -> Result<Vec<u8>, ArtifactError> {
    let mut bytes = Vec::new();
    let keep = |piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    fetch_artifact(source, folder, name, LARGEST_MANIFEST as u64, keep).await?;
    Ok(bytes)
}

/// How much of the whole is done.
pub(crate) fn percent(done: u64, whole: u64) -> u8 {
    u8::try_from(done.saturating_mul(100) / whole.max(1)).unwrap_or(100).min(100)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
    use meadow_pki::{Identity, ReleaseKey};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A cluster's release key, a builder's key, and a node that knows both.
    struct Node {
        folder: tempfile::TempDir,
        release: Identity,
        build: KeyPair,
        fetcher: ImageFetcher,
    }

    impl Node {
        fn new() -> Self {
            let (folder, release) = (tempfile::tempdir().expect("a folder"), Identity::generate().expect("a key"));
            let build = KeyPair::generate(KeySize::Rsa2048).expect("a key");
            let der: aws_lc_rs::encoding::PublicKeyX509Der<'_> = build.public_key().as_der().expect("encoded");
            let pem =
                format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(der.as_ref()));
            let build_key = folder.path().join("build-key.pem");
            fs::write(&build_key, pem).expect("written");
            let fetcher = ImageFetcher {
                store: ImageStore::new(folder.path().join("images")),
                build_key,
                release_key: BASE64.encode(release.public_key().as_der()),
            };
            Self { folder, release, build, fetcher }
        }

        /// Serves an image for these processors, and fetches it; the files that were asked for besides.
        async fn fetch(
            &self,
            architecture: &str,
            task: impl FnOnce(&mut ImageTask),
        ) -> (Result<PathBuf, FetchError>, Vec<String>) {
            let initrd = b"an initrd".to_vec();
            let manifest = serde_json::json!({
                "version": 1, "image": "0.2.0-a", "kernel": "6", "architecture": architecture, "date": 7,
                "artifacts": {"initrd": {"size": initrd.len(), "sha256": HEXLOWER.encode(&Sha256::digest(&initrd))}},
            });
            let manifest = manifest.to_string().into_bytes();
            let mut signature = vec![0; self.build.public_modulus_len()];
            self.build.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &manifest, &mut signature).expect("signed");
            let release = ReleaseKey::from_pem(self.release.key_pem().expose().as_bytes()).expect("a key");
            let mut wanted = ImageTask {
                digest: HEXLOWER.encode(&Sha256::digest(&manifest)),
                release_signature: BASE64.encode(&release.sign(&manifest).expect("signed")),
                sources: Vec::new(),
                allow_older: false,
            };
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
            wanted.sources.push(listener.local_addr().expect("bound").to_string());
            task(&mut wanted);
            let files = BTreeMap::from([(MANIFEST, manifest), (SIGNATURE, signature), ("initrd", initrd)]);
            let mut asked = Vec::new();
            let fetched = tokio::select! {
                fetched = self.fetcher.fetch(&wanted, |_, _| {}) => fetched,
                () = serve(&listener, &files, &mut asked) => unreachable!("it serves for ever"),
            };
            asked.retain(|name| name != MANIFEST && name != SIGNATURE);
            (fetched, asked)
        }
    }

    async fn serve(listener: &TcpListener, files: &BTreeMap<&str, Vec<u8>>, asked: &mut Vec<String>) {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.expect("a request"));
            }
            let path = String::from_utf8(request).expect("text").split(' ').nth(1).expect("a path").to_owned();
            let name = path.rsplit('/').next().expect("a name").to_owned();
            let body = &files[name.as_str()];
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), body].concat()).await.expect("answered");
            asked.push(name);
        }
    }

    #[tokio::test]
    async fn an_adopted_image_for_these_processors_is_fetched() {
        let node = Node::new();
        let (fetched, asked) = node.fetch(std::env::consts::ARCH, |_| {}).await;
        let folder = fetched.expect("fetched");
        assert_eq!(fs::read(folder.join("initrd")).expect("there"), b"an initrd");
        assert_eq!((asked, folder.starts_with(node.folder.path())), (vec!["initrd".to_owned()], true));
    }

    #[tokio::test]
    async fn an_image_for_other_processors_is_not_fetched() {
        let (fetched, asked) = Node::new().fetch("z80", |_| {}).await;
        let why = fetched.expect_err("refused");
        assert!(matches!(&why, FetchError::Architecture { image, .. } if image == "z80"), "{why}");
        assert!(asked.is_empty(), "{asked:?}");
    }

    #[tokio::test]
    async fn what_the_cluster_did_not_release_or_ask_for_is_not_fetched() {
        let (fetched, asked) = Node::new().fetch("x86_64", |task| task.release_signature.clear()).await;
        assert!(matches!(fetched, Err(FetchError::Release(_))) && asked.is_empty());
        let (fetched, asked) = Node::new().fetch("x86_64", |task| task.digest = "0".repeat(64)).await;
        assert!(matches!(fetched, Err(FetchError::Other(_))) && asked.is_empty());
        let (fetched, _) = Node::new().fetch("x86_64", |task| task.sources.clear()).await;
        assert!(matches!(fetched, Err(FetchError::NoSource)));
    }
}
