//! What one fdatasync(2) costs on this disk.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::measure::Measure;

const SAMPLES: u64 = 300;
const BLOCK: usize = 4096;

/// The median time in microseconds to overwrite 4 KiB of a file and sync them. The file is laid out first, so that no
/// sync has to write where its blocks lie.
///
/// # Errors
/// When `folder` is not writable.
pub(crate) fn p50_us(folder: &Path) -> Result<f64> {
    let path = folder.join(format!("raw-sync-{}", std::process::id()));
    let samples = sample(&path).with_context(|| format!("cannot write {}", path.display()));
    // Also after an error; a file that was not made cannot be removed.
    let _ = fs::remove_file(&path);
    Ok(Measure::rounds("", "µs", samples?).median)
}

fn sample(path: &Path) -> Result<Vec<f64>> {
    let file = File::create(path)?;
    file.write_all_at(&vec![0; BLOCK * usize::try_from(SAMPLES)?], 0)?;
    file.sync_all()?;
    let block = [7; BLOCK];
    let mut samples = Vec::new();
    for number in 0..SAMPLES {
        let begun = Instant::now();
        file.write_all_at(&block, number * u64::try_from(BLOCK)?)?;
        file.sync_data()?;
        samples.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(p50_us(folder.path()).expect("a disk") > 0.0);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }
}
