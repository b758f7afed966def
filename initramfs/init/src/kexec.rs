//! Starts another kernel from this one (`kexec_file_load(2)`): the one call that a kernel that is locked down allows, since it
//! checks the signature of what it is given. It passes on by itself what firmware told it (ACPI, EFI, the screen).

use std::ffi::{CString, c_ulong};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;

use rustix::system::{RebootCommand, reboot};

use crate::mode::{CHAINED, ESP};

/// Words that belong to the boot loader of this kernel.
const OF_THE_LOADER: [&str; 4] = ["meadow.", "BOOT_IMAGE=", "BOOTIF=", "initrd="];

/// The command line of the kernel that a stick starts in place of its own: what this one was given, and that the stick with
/// this ESP is behind it. No secret: everybody may read a command line.
#[must_use]
pub fn command_line(own: &str, esp: Option<&str>) -> String {
    let kept = own.split_ascii_whitespace().filter(|word| !OF_THE_LOADER.iter().any(|prefix| word.starts_with(prefix)));
    let esp = esp.map(|esp| format!("{ESP}{esp}"));
    kept.chain([CHAINED]).chain(esp.as_deref()).collect::<Vec<_>>().join(" ")
}

/// Hands kernel and initrd to the kernel, which checks and copies them. Nothing starts yet. Both files must be open for
/// reading only.
///
/// # Errors
/// The kernel's refusal, with what it means.
pub fn load(kernel: &File, initrd: &File, command_line: &str) -> anyhow::Result<()> {
    let text = CString::new(command_line)?;
    let length = text.as_bytes_with_nul().len();
    let no_flags: c_ulong = 0;
    // SAFETY: both descriptors are open and `text` is a C string of `length` bytes with its end, all for the whole call,
    // which only reads them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            kernel.as_raw_fd(),
            initrd.as_raw_fd(),
            length,
            text.as_ptr(),
            no_flags,
        )
    };
    if result == 0 { Ok(()) } else { Err(anyhow::anyhow!(meaning(&io::Error::last_os_error()))) }
}

/// Starts what [`load`] was given. Comes back only where the kernel refuses.
pub fn start() -> io::Error {
    match reboot(RebootCommand::Kexec) {
        Ok(()) => ErrorKind::Other.into(),
        Err(error) => error.into(),
    }
}

fn meaning(error: &io::Error) -> String {
    let why = match error.raw_os_error() {
        Some(libc::EPERM | libc::ENOKEY | libc::EKEYREJECTED | libc::ENODATA | libc::ELIBBAD | libc::EBADMSG) => {
            "under Secure Boot it starts only a kernel that a key in the firmware's db signed: is the image of another build?"
        }
        Some(libc::ENOMEM | libc::EADDRNOTAVAIL) => "there is too little memory for it",
        Some(libc::ENOEXEC) => "it is no kernel that this one can start",
        Some(libc::ENOSYS) => "this kernel cannot start others",
        _ => "",
    };
    let separator = if why.is_empty() { "" } else { "; " };
    format!("this kernel does not start the other one ({error}){separator}{why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mode::Mode;

    #[test]
    fn the_other_kernel_is_told_what_this_one_was_and_where_the_stick_is() {
        let uuid = "0fc63daf-8483-4772-8e79-3d69d8477de4";
        let own = format!(
            "BOOT_IMAGE=(hd0,gpt2)/x quiet  panic=10 meadow.slot=a meadow.esp={uuid} initrd=initrd console=ttyS0\n"
        );
        let line = command_line(&own, Some(uuid));
        assert_eq!(line, format!("quiet panic=10 console=ttyS0 meadow.chained meadow.esp={uuid}"));
        assert_eq!(Mode::parse(&line), Mode::Chained { esp: Some(uuid.to_owned()) });
        // Whatever is given, it starts no third one.
        assert_eq!(command_line(&line, None), "quiet panic=10 console=ttyS0 meadow.chained");
        assert_eq!(Mode::parse(&command_line("", None)), Mode::Chained { esp: None });
    }

    #[test]
    fn refusals_are_explained() {
        let said = |code| meaning(&io::Error::from_raw_os_error(code));
        assert!(said(libc::ENOKEY).contains("db signed") && said(libc::EPERM).contains("Secure Boot"));
        assert!(said(libc::ENOMEM).contains("memory") && said(libc::EINVAL).ends_with(')'));
    }
}
