//! One static program under three names: `/init` (PID 1), `/sbin/modprobe` (the kernel asks for
//! modules by it), and `/bin/boot-state` (the only thing SSH runs).

use std::path::Path;
use std::process::ExitCode;

use meadow_init::{boot, boot_state, modules::Loader};

fn main() -> ExitCode {
    let mut arguments = std::env::args();
    let name = arguments.next().unwrap_or_default();
    match Path::new(&name).file_name().and_then(|name| name.to_str()) {
        Some("modprobe") => modprobe(arguments),
        // sshd puts a dash before the name of a login shell.
        Some("boot-state" | "-boot-state") => boot_state::print(),
        _ if std::process::id() == 1 => boot::run(),
        _ => {
            eprintln!("meadow-init is the first program of the Meadow initramfs and runs only as PID 1");
            ExitCode::FAILURE
        }
    }
}

/// `modprobe [-q] [--] NAME`, as the kernel calls it (`request_module`).
fn modprobe(arguments: impl Iterator<Item = String>) -> ExitCode {
    let loaded = Loader::open().and_then(|loader| {
        arguments.filter(|argument| !argument.starts_with('-')).try_for_each(|name| loader.load(&name))
    });
    // The kernel looks whether what it needs is there now; nobody reads our words.
    if loaded.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
