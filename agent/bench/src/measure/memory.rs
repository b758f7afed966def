//! Memory: bandwidth of a triad, as STREAM measures it, on arrays that no cache holds.

use std::hint::black_box;
use std::path::Path;

use meadow_host::{Clock, files};
use meadow_model::hardware::Measure;

use super::Effort;

/// Of the memory that is free, one part in this many is used: a machine of 1 GiB runs from RAM meanwhile.
const SHARE: u64 = 8;
/// The arrays are larger than the last cache together by this factor; STREAM's own rule is four for each.
const CACHES: u64 = 4;
/// Bytes of the three arrays at least and at most. Sixty-four MiB are beyond the cache of a small machine.
const MIN_BYTES: u64 = 24 << 20;
const MAX_BYTES: u64 = 1 << 30;
/// Bytes that a pass moves for each element: two reads and a write.
const BYTES_PER_ELEMENT: usize = 3 * size_of::<f64>();
const CACHE_ATTRIBUTE_LIMIT: u64 = 4096;

/// Megabytes (10⁶) a second, all threads together.
pub(super) fn bandwidth(threads: usize, effort: Effort, clock: &dyn Clock) -> Measure {
    let mut system = match sysinfo::System::new() {
        Ok(system) => system,
        Err(error) => return Measure::missing(format!("cannot tell how much memory is free: {error}")),
    };
    system.refresh_memory();
    let caches = last_level_cache(Path::new("/sys/devices/system/cpu/cpu0/cache"));
    match array_bytes(system.available_memory(), caches) {
        Ok(bytes) => {
            Measure::of_samples(&samples(usize::try_from(bytes).unwrap_or(usize::MAX), threads, effort, clock))
        }
        Err(reason) => Measure::missing(reason),
    }
}

/// Bytes for the three arrays together, or why they cannot be had.
fn array_bytes(available: u64, last_cache: u64) -> Result<u64, String> {
    let wanted = last_cache.saturating_mul(CACHES).clamp(2 * MIN_BYTES, MAX_BYTES);
    let allowed = available / SHARE;
    let needed = MIN_BYTES.max(last_cache.saturating_mul(2).min(MAX_BYTES));
    if allowed < needed {
        return Err(format!(
            "{} MiB of memory are free and an eighth of that does not exceed the cache twice",
            available >> 20
        ));
    }
    Ok(wanted.min(allowed))
}

/// Bytes of the largest cache of the first processor; 0 where the kernel does not tell.
fn last_level_cache(folder: &Path) -> u64 {
    let indices = files::list(folder, 16).unwrap_or_default();
    let sizes = indices.iter().filter_map(|index| {
        let text = files::read(&folder.join(index).join("size"), CACHE_ATTRIBUTE_LIMIT).ok()?;
        parse_size(std::str::from_utf8(&text).ok()?.trim())
    });
    sizes.max().unwrap_or(0)
}

/// sysfs writes `32768K`.
fn parse_size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.strip_suffix('K') {
        Some(digits) => (digits, 1 << 10),
        None => (text.strip_suffix('M')?, 1 << 20),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

fn samples(bytes: usize, threads: usize, effort: Effort, clock: &dyn Clock) -> Vec<f64> {
    let elements = bytes / BYTES_PER_ELEMENT;
    let mut target = vec![0.0_f64; elements];
    // Written once, so that every page is there before the first sample.
    let (left, right) = (vec![1.0_f64; elements], vec![2.0_f64; elements]);
    target.fill(3.0);
    let mut sample = || {
        let start = clock.boottime();
        let mut passes = 0_u32;
        loop {
            pass(&mut target, &left, &right, threads);
            passes += 1;
            let elapsed = clock.boottime().saturating_sub(start);
            if elapsed >= effort.sample {
                let moved = f64::from(passes) * (elements * BYTES_PER_ELEMENT) as f64;
                return moved / elapsed.as_secs_f64() / 1e6;
            }
        }
    };
    let samples = (0..effort.repetitions).map(|_| sample()).collect();
    black_box(&target);
    samples
}

/// One pass over the arrays, each thread over its own part.
fn pass(target: &mut [f64], left: &[f64], right: &[f64], threads: usize) {
    let part = target.len().div_ceil(threads.max(1)).max(1);
    let parts = target.chunks_mut(part).zip(left.chunks(part)).zip(right.chunks(part));
    std::thread::scope(|scope| {
        for ((target, left), right) in parts {
            scope.spawn(move || triad(target, left, right, black_box(3.0)));
        }
    });
}

fn triad(target: &mut [f64], left: &[f64], right: &[f64], factor: f64) {
    for ((target, left), right) in target.iter_mut().zip(left).zip(right) {
        *target = left + factor * right;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_exceed_the_cache_and_fit_the_machine() {
        const MIB: u64 = 1 << 20;
        const GIB: u64 = 1 << 30;
        for (available, cache, expected) in [
            (600 * MIB, 6 * MIB, Ok(48 * MIB)),
            (300 * MIB, 6 * MIB, Ok(37 * MIB + MIB / 2)),
            (150 * MIB, 0, Err(())),
            (600 * MIB, 64 * MIB, Err(())),
            (16 * GIB, 32 * MIB, Ok(128 * MIB)),
            (512 * GIB, 2 * GIB, Ok(GIB)),
        ] {
            assert_eq!(array_bytes(available, cache).map_err(|_| ()), expected, "{available} {cache}");
        }
    }

    #[test]
    fn every_element_is_computed_whatever_the_number_of_threads() {
        for (elements, threads) in [(0, 4), (1, 4), (1000, 3), (1000, 0)] {
            let (left, right) = (vec![1.0; elements], vec![2.0; elements]);
            let mut target = vec![0.0; elements];
            pass(&mut target, &left, &right, threads);
            assert!(target.iter().all(|value| *value == 7.0), "{elements} {threads}");
        }
    }

    #[test]
    fn sizes_are_read_as_sysfs_writes_them() {
        for (text, expected) in
            [("32768K", Some(32 << 20)), ("1M", Some(1 << 20)), ("7", None), ("", None), ("-1K", None)]
        {
            assert_eq!(parse_size(text), expected, "{text}");
        }
    }
}
