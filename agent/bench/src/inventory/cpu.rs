//! Processor and memory, from procfs.

use std::collections::HashSet;
use std::path::Path;

use meadow_host::files;
use meadow_model::hardware::Cpu;

use super::text::printable;

/// Some 1.5 KiB a thread, so enough for a thousand of them.
const CPUINFO_LIMIT: u64 = 4 << 20;
const MEMINFO_LIMIT: u64 = 64 << 10;

/// The processor, empty where procfs does not tell.
pub(super) fn read(root: &Path) -> Cpu {
    let text = files::read(&root.join("proc/cpuinfo"), CPUINFO_LIMIT).unwrap_or_default();
    parse_cpuinfo(&String::from_utf8_lossy(&text), std::env::consts::ARCH)
}

/// Usable memory in bytes, 0 where procfs does not tell.
pub(super) fn memory_bytes(root: &Path) -> u64 {
    let text = files::read(&root.join("proc/meminfo"), MEMINFO_LIMIT).unwrap_or_default();
    parse_meminfo(&String::from_utf8_lossy(&text)).unwrap_or(0)
}

fn parse_cpuinfo(text: &str, arch: &str) -> Cpu {
    let mut cpu = Cpu::default();
    let mut cores = HashSet::new();
    for processor in text.split("\n\n") {
        let field = |name: &str| {
            let value =
                |line: &str| Some(line.split_once(':').filter(|(key, _)| key.trim() == name)?.1.trim().to_owned());
            processor.lines().find_map(value)
        };
        if field("processor").is_none() {
            continue;
        }
        cpu.threads += 1;
        // Where the kernel tells no cores (ARM, some virtual machines), each thread counts as one.
        let place = (field("physical id"), field("core id"));
        cores.insert(if place.1.is_some() { place } else { (None, Some(format!("thread {}", cpu.threads))) });
        let flags = field("flags").or_else(|| field("Features")).unwrap_or_default();
        let has = |flag: &str| flags.split(' ').any(|present| present == flag);
        cpu.virtualization |= has("vmx") || has("svm");
        cpu.aes |= has("aes");
        if cpu.model.is_empty() {
            cpu.model = field("model name").and_then(|name| printable(&name)).unwrap_or_default();
        }
    }
    if cpu.model.is_empty() {
        cpu.model = arch.to_owned();
    }
    cpu.cores = u32::try_from(cores.len()).unwrap_or(u32::MAX);
    cpu
}

fn parse_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processor(number: u32, package: u32, core: u32) -> String {
        format!(
            "processor\t: {number}\nmodel name\t: Intel(R) N100\nphysical id\t: {package}\ncore id\t\t: {core}\nflags\t\t: fpu vmx aes\n\n"
        )
    }

    #[test]
    fn threads_of_one_core_count_once_and_packages_apart() {
        let text: String =
            [(0, 0, 0), (1, 0, 0), (2, 0, 4), (3, 1, 0)].iter().map(|(n, p, c)| processor(*n, *p, *c)).collect();
        let cpu = parse_cpuinfo(&text, "x86_64");
        assert_eq!((cpu.cores, cpu.threads, cpu.virtualization, cpu.aes), (3, 4, true, true));
        assert_eq!(cpu.model, "Intel(R) N100");
    }

    #[test]
    fn arm_tells_less() {
        let text = "processor\t: 0\nFeatures\t: fp asimd aes\n\nprocessor\t: 1\nFeatures\t: fp asimd aes\n\nRevision\t: c03114\n";
        let cpu = parse_cpuinfo(text, "aarch64");
        assert_eq!((cpu.cores, cpu.threads, cpu.aes, cpu.model.as_str()), (2, 2, true, "aarch64"));
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(parse_cpuinfo("", "x86_64"), Cpu { model: "x86_64".into(), ..Cpu::default() });
        for bad in ["", "MemTotal: many kB", "MemTotal: 99999999999999999999 kB", "MemTotal: 18446744073709551615 kB"] {
            assert_eq!(parse_meminfo(bad), None, "{bad}");
        }
        assert_eq!(parse_meminfo("MemFree: 1 kB\nMemTotal:        1000 kB\n"), Some(1_024_000));
    }
}
