//! The inventory of the machine that the test runs on: what must hold on any of them.

use std::time::Duration;

use meadow_bench::inventory;

#[tokio::test]
async fn this_machine_has_a_processor_memory_and_no_blank_disk_that_is_mounted() {
    let hardware = inventory(Duration::ZERO).await.expect("inventory");
    assert!(hardware.cpu.threads >= 1 && hardware.cpu.cores >= 1 && hardware.cpu.cores <= hardware.cpu.threads);
    assert!(!hardware.cpu.model.is_empty());
    assert!(hardware.memory_bytes > 64 << 20);
    let mounts = std::fs::read_to_string("/proc/mounts").expect("mounts");
    for disk in &hardware.disks {
        let mounted = mounts.lines().any(|line| line.starts_with(&format!("/dev/{}", disk.name)));
        assert!(!mounted || disk.signature.is_some(), "{disk:?}");
    }
}
