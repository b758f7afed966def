//! A read-only device-mapper device, by the kernel's ioctls (`linux/dm-ioctl.h`).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;

use anyhow::Context;

const DM_DEV_CREATE: u8 = 3;
const DM_DEV_REMOVE: u8 = 4;
/// Without the suspend flag it resumes.
const DM_DEV_SUSPEND: u8 = 6;
const DM_TABLE_LOAD: u8 = 9;
const DM_READONLY_FLAG: u32 = 1;

const HEADER: usize = 312;
const TARGET: usize = 40;
const SECTOR: u64 = 512;

/// A mapped device; dropping it removes it unless it was kept.
#[derive(Debug)]
pub(super) struct MappedDevice {
    control: File,
    name: String,
    keep: bool,
    pub(super) path: String,
}

/// Makes `/dev/dm-N` with one target over `bytes` bytes.
pub(super) fn create(
    name: &str,
    uuid: &str,
    target: &str,
    bytes: u64,
    parameters: &str,
) -> anyhow::Result<MappedDevice> {
    let control = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/mapper/control")
        .context("cannot open /dev/mapper/control: is the module dm-mod in this initrd?")?;
    let created = run(&control, DM_DEV_CREATE, &mut message(name, uuid, 0, None))
        .with_context(|| format!("cannot create the device {name}"))?;
    // From here on, going out of scope removes the device.
    let path = format!("/dev/dm-{}", minor(created));
    let device = MappedDevice { control, name: name.to_owned(), keep: false, path };
    let table = Table { target, sectors: bytes / SECTOR, parameters };
    run(&device.control, DM_TABLE_LOAD, &mut message(name, "", DM_READONLY_FLAG, Some(&table)))
        .with_context(|| format!("the kernel refused the {target} table"))?;
    run(&device.control, DM_DEV_SUSPEND, &mut message(name, "", 0, None))
        .with_context(|| format!("cannot start the device {name}"))?;
    Ok(device)
}

impl MappedDevice {
    /// The device stays.
    pub(super) fn keep(mut self) {
        self.keep = true;
    }
}

impl Drop for MappedDevice {
    fn drop(&mut self) {
        if !self.keep {
            // A device in use stays; the next attempt will say so.
            let _ = run(&self.control, DM_DEV_REMOVE, &mut message(&self.name, "", 0, None));
        }
    }
}

struct Table<'a> {
    target: &'a str,
    sectors: u64,
    parameters: &'a str,
}

/// A `struct dm_ioctl`, followed by a `struct dm_target_spec` and its parameters for a table.
fn message(name: &str, uuid: &str, flags: u32, table: Option<&Table<'_>>) -> Vec<u8> {
    let mut out = vec![0_u8; HEADER];
    put(&mut out, 0, &4_u32.to_ne_bytes()); // version 4.0.0
    put(&mut out, 16, &(HEADER as u32).to_ne_bytes());
    put(&mut out, 20, &u32::from(table.is_some()).to_ne_bytes());
    put(&mut out, 28, &flags.to_ne_bytes());
    put(&mut out, 48, name.as_bytes().get(..127).unwrap_or(name.as_bytes()));
    put(&mut out, 176, uuid.as_bytes().get(..128).unwrap_or(uuid.as_bytes()));
    if let Some(table) = table {
        let mut target = vec![0_u8; TARGET];
        put(&mut target, 8, &table.sectors.to_ne_bytes());
        put(&mut target, 24, table.target.as_bytes().get(..15).unwrap_or(table.target.as_bytes()));
        target.extend_from_slice(table.parameters.as_bytes());
        target.push(0);
        target.resize(target.len().next_multiple_of(8), 0);
        let next = u32::try_from(target.len()).unwrap_or(u32::MAX);
        put(&mut target, 20, &next.to_ne_bytes());
        out.extend_from_slice(&target);
    }
    let size = u32::try_from(out.len()).unwrap_or(u32::MAX);
    put(&mut out, 12, &size.to_ne_bytes());
    out
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = out.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// Runs one command; the device number that the kernel filled in.
fn run(control: &File, command: u8, message: &mut [u8]) -> io::Result<u64> {
    // _IOWR(0xfd, command, struct dm_ioctl)
    let request = (3 << 30) | ((HEADER as libc::Ioctl) << 16) | (0xfd << 8) | libc::Ioctl::from(command);
    // SAFETY: the message holds its own length, which the kernel checks before it reads or
    // writes within it.
    let result = unsafe { libc::ioctl(control.as_raw_fd(), request, message.as_mut_ptr()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut device = [0; 8];
    device.copy_from_slice(&message[40..48]);
    Ok(u64::from_ne_bytes(device))
}

/// The minor number in the kernel's "huge" encoding (`huge_encode_dev`).
fn minor(device: u64) -> u64 {
    (device & 0xff) | ((device >> 12) & 0xfff_ff00)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn a_table_follows_the_header() {
        let table = Table { target: "verity", sectors: 80, parameters: "1 /dev/loop0" };
        let bytes = message("meadow-root", "U", DM_READONLY_FLAG, Some(&table));
        assert_eq!(bytes.len(), HEADER + TARGET + 16);
        assert_eq!(word(&bytes, 12) as usize, bytes.len());
        assert_eq!((word(&bytes, 16), word(&bytes, 20), word(&bytes, 28)), (312, 1, 1));
        assert_eq!(&bytes[48..60], b"meadow-root\0");
        assert_eq!(&bytes[176..178], b"U\0");
        assert_eq!(&bytes[HEADER + 8..HEADER + 16], 80_u64.to_ne_bytes());
        assert_eq!(word(&bytes, HEADER + 20), 56);
        assert_eq!(&bytes[HEADER + 24..HEADER + 31], b"verity\0");
        assert_eq!(&bytes[HEADER + TARGET..HEADER + TARGET + 13], b"1 /dev/loop0\0");
    }

    #[test]
    fn minors_of_small_and_large_numbers() {
        assert_eq!(minor(0xfd_03), 3);
        assert_eq!(minor(0x10_fd_03), 0x103);
    }
}
