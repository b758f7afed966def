//! Where Meadow keeps its files.

use std::path::{Path, PathBuf};

/// The files of the agent, all below a prefix: `/`, or a folder of a test.
#[derive(Clone, Debug)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// Below `root`.
    #[must_use]
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The prefix.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Settings of the agent, written by `meadow init`.
    #[must_use]
    pub fn settings(&self) -> PathBuf {
        self.at("etc/meadow/meadowd.toml")
    }

    /// Everything that must survive a restart: mode 0700.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.at("var/lib/meadow")
    }

    /// Where `meadow init` prepares a state before it renames it into place.
    #[must_use]
    pub fn state_being_made(&self) -> PathBuf {
        self.at("var/lib/.meadow-init")
    }

    /// What a reboot may lose.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.at("run/meadow")
    }

    /// The agent's local API.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.run_dir().join("api.sock")
    }

    /// What the initramfs was told by the PXE server.
    #[must_use]
    pub fn boot_config(&self) -> PathBuf {
        self.run_dir().join("boot.json")
    }

    /// What the seed of the stick says that this computer booted from.
    #[must_use]
    pub fn seed(&self) -> PathBuf {
        self.run_dir().join("seed.json")
    }

    /// How the initramfs booted.
    #[must_use]
    pub fn boot_report(&self) -> PathBuf {
        self.run_dir().join("boot-report.json")
    }

    /// Where `/etc/resolv.conf` of the image points to.
    #[must_use]
    pub fn resolver(&self) -> PathBuf {
        self.run_dir().join("resolv.conf")
    }

    /// Where the disk helper listens.
    #[must_use]
    pub fn disk_helper(&self) -> PathBuf {
        self.run_dir().join("disks.sock")
    }

    /// Public half of the key that this image was built with, from the initramfs.
    #[must_use]
    pub fn build_key(&self) -> PathBuf {
        self.run_dir().join("build-key.pem")
    }

    /// Where an image is put together before it is written to a disk.
    #[must_use]
    pub fn incoming_image(&self) -> PathBuf {
        self.run_dir().join("image")
    }

    /// Adopted images, or on a node the one that was fetched last.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.state_dir().join("images")
    }

    /// Where the disk helper puts the image of a stick.
    #[must_use]
    pub fn stick_image(&self) -> PathBuf {
        self.at("run/meadow-disks/stick")
    }

    /// An image that a person carried here, while nobody knows yet whether it is well.
    #[must_use]
    pub fn carried_image(&self) -> PathBuf {
        self.state_dir().join("carried-image.json")
    }

    /// Where a support bundle is packed.
    #[must_use]
    pub fn support_bundle(&self) -> PathBuf {
        self.run_dir().join("support.tar.gz")
    }

    /// Made by the image once udev has looked at disks and network cards.
    #[must_use]
    pub fn coldplug_done(&self) -> PathBuf {
        self.run_dir().join("coldplug-done")
    }

    /// The replicated state, on voters.
    #[must_use]
    pub fn raft_dir(&self) -> PathBuf {
        self.state_dir().join("raft")
    }

    /// A wish to join, written by `meadow join`, gone once it is fulfilled.
    #[must_use]
    pub fn join_request(&self) -> PathBuf {
        self.state_dir().join("join.json")
    }

    /// How the last wish to join ended, for `meadow join`.
    #[must_use]
    pub fn join_result(&self) -> PathBuf {
        self.state_dir().join("join-result.json")
    }

    /// The agent's files inside a state folder.
    #[must_use]
    pub fn state(&self) -> StateFiles {
        StateFiles::new(self.state_dir())
    }
}

/// The files inside a state folder.
#[derive(Clone, Debug)]
pub struct StateFiles {
    dir: PathBuf,
}

impl StateFiles {
    /// The files of the state folder `dir`.
    #[must_use]
    pub fn new(dir: impl AsRef<Path>) -> Self {
        Self { dir: dir.as_ref().to_owned() }
    }

    /// The identity's private key.
    #[must_use]
    pub fn identity_key(&self) -> PathBuf {
        self.dir.join("identity.key")
    }

    /// The mesh's private key.
    #[must_use]
    pub fn wireguard_key(&self) -> PathBuf {
        self.dir.join("wireguard.key")
    }

    /// Which cluster the node belongs to.
    #[must_use]
    pub fn membership(&self) -> PathBuf {
        self.dir.join("membership.json")
    }

    /// The cluster CA's certificate, on the node that signs.
    #[must_use]
    pub fn ca_certificate(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// The cluster CA's private key.
    #[must_use]
    pub fn ca_key(&self) -> PathBuf {
        self.dir.join("ca.key")
    }

    /// The key that counter-signs the images which the cluster adopts.
    #[must_use]
    pub fn release_key(&self) -> PathBuf {
        self.dir.join("release.key")
    }

    /// What the first node proposes to an empty state.
    #[must_use]
    pub fn bootstrap(&self) -> PathBuf {
        self.dir.join("bootstrap.json")
    }
}
