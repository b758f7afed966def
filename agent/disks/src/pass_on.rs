//! Boot code for a disk from which no system starts: not yet, or never, where it only keeps a state.
//!
//! A BIOS runs the first sector of a disk with a protective MBR, whatever is in it, and zeros are instructions without an end:
//! a computer whose disk comes before the network would hang for ever after a power cut in the middle of an installation.

/// Loaded at 0000:7C00 (BIOS Boot Specification 1.01, 6.5). Prints the text behind it and gives up by INT 18h, after which the
/// BIOS tries its next device (the same, 6.7).
const CODE: [u8; 27] = [
    0xfc, // cld
    0x31, 0xc0, // xor ax, ax
    0x8e, 0xd8, // mov ds, ax
    0xbe, 0x1b, 0x7c, // mov si, 0x7c00 + the length of this code
    0xbb, 0x07, 0x00, // mov bx, 7: page 0, grey
    0xac, // lodsb
    0x84, 0xc0, // test al, al
    0x74, 0x06, // jz behind the loop
    0xb4, 0x0e, // mov ah, 0x0e: teletype output
    0xcd, 0x10, // int 0x10
    0xeb, 0xf5, // jmp to the lodsb
    0xcd, 0x18, // int 0x18
    0xf4, // hlt: a BIOS that comes back has nothing else to try
    0xeb, 0xfd, // jmp to the hlt
];
const TEXT: &[u8] = b"\r\nMeadow: no system starts from this disk; trying the next device.\r\n\0";
/// Behind it are the disk's signature and the table of the protective MBR.
const END: usize = 0x1b8;

const _: () =
    assert!(CODE[6] as usize == CODE.len() && CODE.len() + TEXT.len() <= END, "the text is not where it is read");

/// The boot code, up to where the disk's signature is.
pub(crate) fn boot_code() -> [u8; END] {
    let mut bytes = [0; END];
    let (code, rest) = bytes.split_at_mut(CODE.len());
    code.copy_from_slice(&CODE);
    rest[..TEXT.len()].copy_from_slice(TEXT);
    bytes
}
