//! Sizes of what a machine downloads.

use std::fs;

use anyhow::{Context, Result};
use meadow_rack::paths;
use serde_json::Value;

use crate::measure::Measure;

/// Budget of kernel and initrd, in megabytes (docs/specification.md).
const KERNEL_AND_INITRD: f64 = 32.0;
/// Budget of a first boot's download.
const FIRST_BOOT: f64 = 120.0;

/// The manifest of the image.
///
/// # Errors
/// When there is no image.
pub(crate) fn manifest() -> Result<Value> {
    let path = paths::image().join("manifest.json");
    let text = fs::read_to_string(&path)
        .with_context(|| format!("there is no image: {}; `make image` builds it", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))
}

/// Sizes of the artifacts in megabytes (10^6 bytes), and their sums against the budgets.
///
/// # Errors
/// When the manifest lacks one.
pub(crate) fn measure(manifest: &Value) -> Result<Vec<Measure>> {
    let megabytes = |name: &str| {
        let size = manifest.get("artifacts").and_then(|artifacts| artifacts.get(name)?.get("size")?.as_f64());
        size.map(|bytes| bytes / 1e6).with_context(|| format!("the manifest has no size of {name}"))
    };
    let (kernel, initrd, root) = (megabytes("vmlinuz")?, megabytes("initrd")?, megabytes("root.img")?);
    let first = [megabytes("ipxe/undionly.kpxe")?, megabytes("ipxe/snponly.efi")?, megabytes("ipxe/ipxe.efi")?];
    let greatest_ipxe = first.into_iter().fold(0.0, f64::max);
    Ok(vec![
        Measure::single("vmlinuz", "MB", kernel),
        Measure::single("initrd", "MB", initrd),
        Measure::single("kernel + initrd", "MB", kernel + initrd).at_most(KERNEL_AND_INITRD),
        Measure::single("root.img (with its hash tree)", "MB", root),
        Measure::single("greatest iPXE binary", "MB", greatest_ipxe),
        Measure::single("first boot, all downloads", "MB", kernel + initrd + root + greatest_ipxe).at_most(FIRST_BOOT),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sums_and_budgets() {
        let size = |bytes: u64| json!({"size": bytes, "sha256": ""});
        let artifacts = |root: u64| {
            json!({"artifacts": {"vmlinuz": size(12_000_000), "initrd": size(8_000_000), "root.img": size(root),
                "ipxe/undionly.kpxe": size(1), "ipxe/snponly.efi": size(2), "ipxe/ipxe.efi": size(1_000_000)}})
        };
        for (root, fits) in [(99_000_000, true), (99_000_001, false)] {
            let measures = measure(&artifacts(root)).expect("sizes");
            assert_eq!(measures.iter().map(Measure::reached).collect::<Vec<_>>()[5], Some(fits));
            assert_eq!(measures[2].reached(), Some(true));
        }
        assert!(measure(&json!({"artifacts": {}})).is_err());
    }
}
