//! Whether guests run on the processor itself.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// What runs a guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor, through Linux's KVM.
    Kvm,
    /// QEMU's own emulation.
    Tcg,
}

impl Accelerator {
    /// Its name for QEMU's `-accel`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

impl Accelerator {
    /// QEMU's `-accel`. With a thread for each processor, its emulation hangs now and then, before the firmware's
    /// first byte or in the kernel's first second (seen with 7.2, not provoked); with one thread for all of them a boot
    /// takes as long (45 boots each, three at once on two cores: 22.4 and 23.2 s).
    #[must_use]
    pub fn argument(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg,thread=single",
        }
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What the guest writes to QEMU's exit device; QEMU then ends with twice this and one.
const ANSWER: u8 = 0x31;
const EXIT_CODE: i32 = 2 * ANSWER as i32 + 1;
/// The guest needs a fraction of a second on a processor; an emulated KVM does not get through in this time.
const LIMIT: Duration = Duration::from_secs(3);

/// A boot sector that counts 2²⁶ down and then ends QEMU.
const PROBE: [u8; 19] = [
    0xfa, // cli
    0x66, 0xb9, 0x00, 0x00, 0x00, 0x04, // mov ecx, 0x0400_0000
    0x66, 0x49, // dec ecx
    0x75, 0xfc, // jnz the line above
    0xb0, ANSWER, // mov al, ANSWER
    0xe6, 0xf4, // out 0xf4, al
    0xf4, // hlt
    0xeb, 0xfd, // jmp to it again
    0x90, // nop
];

/// Runs a guest with KVM: the device `/dev/kvm` alone tells nothing, it may be forbidden, broken or emulated.
///
/// # Errors
/// When QEMU cannot be started at all.
pub fn probe(folder: &Path) -> Result<Accelerator> {
    Ok(if runs(Accelerator::Kvm, LIMIT, folder)? { Accelerator::Kvm } else { Accelerator::Tcg })
}

fn runs(accelerator: Accelerator, limit: Duration, folder: &Path) -> Result<bool> {
    let sector = folder.join("probe.disk");
    fs::write(&sector, boot_sector()).with_context(|| format!("cannot write {}", sector.display()))?;
    let mut child = Command::new("qemu-system-x86_64")
        .args(["-accel", accelerator.argument(), "-machine", "pc", "-m", "16", "-nodefaults", "-display", "none"])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-drive"])
        .arg(format!("file={},format=raw,if=ide,readonly=off,snapshot=on", sector.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot run qemu-system-x86_64; `make packages` installs it")?;
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code() == Some(EXIT_CODE));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill()?;
    child.wait()?;
    Ok(false)
}

fn boot_sector() -> [u8; 512] {
    let mut sector = [0; 512];
    for (byte, code) in sector.iter_mut().zip(PROBE) {
        *byte = code;
    }
    sector[510] = 0x55;
    sector[511] = 0xaa;
    sector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_ends_qemu_and_only_in_time() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(runs(Accelerator::Tcg, Duration::from_secs(60), folder.path()).expect("QEMU starts"));
        assert!(!runs(Accelerator::Tcg, Duration::from_millis(50), folder.path()).expect("QEMU starts"));
    }
}
