//! Where the rack finds its parts.

use std::path::PathBuf;

/// The cache of Meadow's builds and rigs: `MEADOW_CACHE`, or `meadow` in the user's cache folder.
#[must_use]
pub fn cache() -> PathBuf {
    let user = || std::env::var_os("XDG_CACHE_HOME").map_or_else(|| home().join(".cache"), PathBuf::from);
    std::env::var_os("MEADOW_CACHE").map_or_else(|| user().join("meadow"), PathBuf::from)
}

/// The newest tools tree of the image build: a Debian with newer firmware and programs than the host may have.
#[must_use]
pub fn tools() -> PathBuf {
    cache().join("tools/current")
}

/// Cargo's folder with the programs under test: `MEADOW_BIN`, or the release folder that `CARGO_TARGET_DIR` names.
#[must_use]
pub fn programs() -> PathBuf {
    std::env::var_os("MEADOW_BIN").map_or_else(
        || std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| cache().join("target"), PathBuf::from).join("release"),
        PathBuf::from,
    )
}

/// The image's artifacts: `MEADOW_IMAGE`, or the link `target/image` that `make image` leaves in the checkout.
#[must_use]
pub fn image() -> PathBuf {
    std::env::var_os("MEADOW_IMAGE").map_or_else(|| checkout().join("target/image"), PathBuf::from)
}

/// The artifacts of another image beside the one that machines boot; `tests/make/image-variants` builds them.
#[must_use]
pub fn image_variant(name: &str) -> PathBuf {
    image().with_file_name(name)
}

/// The checkout: the one whose tests cargo runs, else the current folder. Not the one that this crate was compiled in,
/// since checkouts may share cargo's folder.
#[must_use]
pub fn checkout() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from("."), |package| PathBuf::from(package).join("../.."))
}

fn home() -> PathBuf {
    std::env::home_dir().unwrap_or_else(|| PathBuf::from("/root"))
}
