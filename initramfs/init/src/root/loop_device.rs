//! A read-only loop device on the downloaded image.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;

use anyhow::Context;

use super::spec::BLOCK;

const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;
const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a;
const LO_FLAGS_READ_ONLY: u32 = 1;
/// The device goes away with its last user, so a failed attempt leaves nothing.
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const ATTEMPTS: u32 = 8;

/// `struct loop_info64` of the kernel's interface.
#[repr(C)]
#[derive(Debug)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config` of the kernel's interface.
#[repr(C)]
#[derive(Debug)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// An open loop device.
#[derive(Debug)]
pub(super) struct LoopDevice {
    /// Keeps the device; closing it lets the device go, unless somebody else holds it.
    _file: File,
    pub(super) path: String,
}

/// Attaches a free loop device to `image`.
pub(super) fn attach(image: &File) -> anyhow::Result<LoopDevice> {
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/loop-control")
        .context("cannot open /dev/loop-control: is the module loop in this initrd?")?;
    let mut last = io::Error::from(io::ErrorKind::ResourceBusy);
    // Somebody may take the free device first.
    for _ in 0..ATTEMPTS {
        // SAFETY: LOOP_CTL_GET_FREE takes no argument.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        if number < 0 {
            return Err(io::Error::last_os_error()).context("no loop device is free");
        }
        let path = format!("/dev/loop{number}");
        let file = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        match configure(&file, image) {
            Ok(()) => return Ok(LoopDevice { _file: file, path }),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => last = error,
            Err(error) => return Err(error).with_context(|| format!("cannot set up {path}")),
        }
    }
    Err(last).context("no loop device could be taken")
}

fn configure(device: &File, image: &File) -> io::Result<()> {
    let info = LoopInfo {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
    let config = LoopConfig {
        fd: image.as_raw_fd().cast_unsigned(),
        block_size: u32::try_from(BLOCK).map_err(io::Error::other)?,
        info,
        reserved: [0; 8],
    };
    // SAFETY: LOOP_CONFIGURE reads one `struct loop_config`, which lives through the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

// The layout is the kernel's interface.
const _: () = assert!(size_of::<LoopInfo>() == 232 && size_of::<LoopConfig>() == 304);
