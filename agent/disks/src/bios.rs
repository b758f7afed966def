//! GRUB for BIOS: what `grub-bios-setup` writes (`image/README.md`, The boot loader).

/// Sectors are counted in these, whatever the disk's own are; a BIOS boots from no others.
pub(crate) const SECTOR: u64 = 512;
/// Bytes of LBA 0 that are ours; behind them are the disk's signature and the protective MBR's table.
const BOOT_CODE: usize = 0x1b8;
const KERNEL_SECTOR: usize = 0x5c;
const DRIVE_CHECK: usize = 0x66;
const FIRST_BLOCK: usize = 0x1f4;
const SEGMENT: [u8; 2] = 0x820_u16.to_le_bytes();

/// The images are not GRUB's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not the boot image that was expected ({1}); build the image again")]
pub(crate) struct BadImage(&'static str, &'static str);

/// What is written where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bios {
    /// From the first byte of LBA 0 on, instead of what is there; the rest of that sector stays.
    pub(crate) boot_code: [u8; BOOT_CODE],
    /// From the first byte of `meadow-bios` on.
    pub(crate) core: Vec<u8>,
}

/// Puts the place of `meadow-bios`, which begins at byte `start` of the disk, into GRUB's images.
///
/// # Errors
/// [`BadImage`]
pub(crate) fn place(boot: &[u8], core: &[u8], start: u64) -> Result<Bios, BadImage> {
    let first = start / SECTOR;
    let mut boot_code: [u8; BOOT_CODE] =
        boot.get(..BOOT_CODE).and_then(|code| code.try_into().ok()).ok_or(BadImage("grub/boot.img", "too short"))?;
    if boot.len() != 512 || boot[510..] != [0x55, 0xaa] || boot_code[DRIVE_CHECK..DRIVE_CHECK + 2] != [0xeb, 0x05] {
        return Err(BadImage("grub/boot.img", "its marks are not where they should be"));
    }
    boot_code[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&first.to_le_bytes());
    boot_code[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&[0x90, 0x90]);

    let mut core = core.to_vec();
    core.resize(core.len().next_multiple_of(512), 0);
    let sectors = u16::try_from(core.len() / 512).ok().filter(|sectors| *sectors > 1);
    let behind = sectors.ok_or(BadImage("grub/core.img", "of a wrong size"))? - 1;
    if core[FIRST_BLOCK + 8..FIRST_BLOCK + 10] != behind.to_le_bytes() || core[510..512] != SEGMENT {
        return Err(BadImage("grub/core.img", "its block list does not fit its size"));
    }
    core[FIRST_BLOCK..FIRST_BLOCK + 8].copy_from_slice(&(first + 1).to_le_bytes());
    Ok(Bios { boot_code, core })
}

/// Whether LBA 0 holds GRUB's boot code with the place of a `meadow-bios` that begins at byte `start` of the disk.
pub(crate) fn is_placed(sector: &[u8], start: u64) -> bool {
    sector.get(KERNEL_SECTOR..KERNEL_SECTOR + 8) == Some(&(start / SECTOR).to_le_bytes())
        && sector.get(DRIVE_CHECK..DRIVE_CHECK + 2) == Some(&[0x90, 0x90])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> (Vec<u8>, Vec<u8>) {
        let mut boot = vec![0xcc; 512];
        boot[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&[0xeb, 0x05]);
        boot[510..].copy_from_slice(&[0x55, 0xaa]);
        let mut core = vec![0xdd; 3 * 512 - 100];
        core[FIRST_BLOCK + 8..FIRST_BLOCK + 10].copy_from_slice(&[2, 0]);
        core[510..512].copy_from_slice(&SEGMENT);
        (boot, core)
    }

    #[test]
    fn the_places_are_written_and_nothing_else() {
        let (boot, core) = images();
        let placed = place(&boot, &core, 1 << 20).expect("images");
        assert_eq!(placed.boot_code[0x5c..0x68], [0, 8, 0, 0, 0, 0, 0, 0, 0xcc, 0xcc, 0x90, 0x90]);
        assert_eq!(placed.boot_code[..0x5c], boot[..0x5c]);
        assert_eq!(placed.core.len(), 3 * 512);
        assert_eq!(placed.core[0x1f4..0x200], [1, 8, 0, 0, 0, 0, 0, 0, 2, 0, 0x20, 0x08]);
        assert_eq!(placed.core[0x200..core.len()], core[0x200..]);
        assert!(is_placed(&placed.boot_code, 1 << 20) && !is_placed(&placed.boot_code, 2 << 20));
        assert!(!is_placed(&boot, 1 << 20) && !is_placed(&crate::pass_on::boot_code(), 1 << 20));
    }

    #[test]
    fn other_files_are_refused() {
        let (boot, core) = images();
        assert!(place(&[], &core, 1 << 20).is_err());
        assert!(place(&[0; 512], &core, 1 << 20).is_err());
        for bad in [vec![], vec![0; 512], vec![0; 4096], [core.clone(), vec![0; 512]].concat()] {
            assert!(place(&boot, &bad, 1 << 20).is_err());
        }
    }
}
