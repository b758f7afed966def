//! An IP address together with the length of its prefix.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address and a prefix length, written `fd00::1/64`.
///
/// The host part is kept: it is an interface's address as well as a network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    address: IpAddr,
    length: u8,
}

/// A text or a pair of values that is no address with a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an address with a prefix length; write one such as 192.0.2.1/24 or fd00::1/64")]
pub struct InvalidCidr(String);

impl Cidr {
    /// An address with a prefix of `length` bits.
    ///
    /// # Errors
    /// Where `length` is more than the address has bits.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, InvalidCidr> {
        if length > width(address) {
            return Err(InvalidCidr(format!("{address}/{length}")));
        }
        Ok(Self { address, length })
    }

    /// One address alone: /32 or /128.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self { address, length: width(address) }
    }

    /// The address, host part included.
    #[must_use]
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// Bits in the prefix.
    #[must_use]
    pub fn length(self) -> u8 {
        self.length
    }

    /// The same prefix with every host bit zero.
    #[must_use]
    pub fn network(self) -> Self {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(u32::from(32 - self.length)).unwrap_or(0);
                IpAddr::V4((address.to_bits() & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(u32::from(128 - self.length)).unwrap_or(0);
                IpAddr::V6((address.to_bits() & mask).into())
            }
        };
        Self { address, length: self.length }
    }

    /// Whether every address of `other` lies in this prefix.
    #[must_use]
    pub fn contains(self, other: Self) -> bool {
        let same_family = self.address.is_ipv4() == other.address.is_ipv4();
        same_family
            && other.length >= self.length
            && Self { address: other.address, length: self.length }.network() == self.network()
    }
}

/// Bits in an address of this family.
fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, InvalidCidr> {
        let invalid = || InvalidCidr(text.chars().take(60).collect());
        let (address, length) = text.split_once('/').ok_or_else(invalid)?;
        Self::new(address.parse().map_err(|_| invalid())?, length.parse().map_err(|_| invalid())?)
            .map_err(|_| invalid())
    }
}

#[cfg(test)]
mod tests {
    use super::Cidr;

    fn cidr(text: &str) -> Cidr {
        text.parse().expect("valid in this test")
    }

    #[test]
    fn networks_have_no_host_part() {
        for (text, network) in [
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("192.0.2.77/32", "192.0.2.77/32"),
            ("192.0.2.77/0", "0.0.0.0/0"),
            ("fd00:1:2:3:4::9/64", "fd00:1:2:3::/64"),
            ("fd00::9/0", "::/0"),
        ] {
            assert_eq!(cidr(text).network(), cidr(network), "{text}");
        }
    }

    #[test]
    fn a_prefix_contains_what_is_inside_and_of_its_family() {
        assert!(cidr("fd00::/64").contains(cidr("fd00::5/128")));
        assert!(cidr("fd00::7/64").contains(cidr("fd00::/64")));
        assert!(!cidr("fd00::/64").contains(cidr("fd00::/63")));
        assert!(!cidr("fd00::/64").contains(cidr("fd01::5/128")));
        assert!(!cidr("0.0.0.0/0").contains(cidr("fd00::5/128")));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "192.0.2.1", "192.0.2.1/33", "fd00::/129", "x/8", "192.0.2.1/", "192.0.2.1/-1"] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }
}
