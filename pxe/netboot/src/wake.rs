//! Wake-on-LAN.

use meadow_model::MacAddress;

/// The port that magic packets go to by custom (discard); a sleeping card looks at the bytes alone.
pub const PORT: u16 = 9;
const LENGTH: usize = 6 + 16 * 6;

/// The packet that switches on a machine whose card waits for it: six bytes of ones and sixteen times its address (AMD,
/// *Magic Packet Technology*, publication 20213).
#[must_use]
pub fn magic_packet(mac: MacAddress) -> [u8; LENGTH] {
    let mut packet = [0xff; LENGTH];
    for place in packet[6..].chunks_exact_mut(6) {
        place.copy_from_slice(&mac.0);
    }
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ones_and_sixteen_addresses() {
        let packet = magic_packet(MacAddress([1, 2, 3, 4, 5, 6]));
        assert_eq!(packet[..12], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5, 6]);
        assert_eq!((packet.len(), &packet[96..]), (102, &[1, 2, 3, 4, 5, 6][..]));
    }
}
