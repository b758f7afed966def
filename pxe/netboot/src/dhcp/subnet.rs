//! A subnet with its pool and options, checked.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;

use meadow_model::MacAddress;

use super::lease_config::{LeaseConfig, LeaseConfigError};

/// Most addresses of one pool, which bounds the memory that strangers can make the server use.
const MAX_POOL: u32 = 65_536;
/// The longest lease, in seconds: 30 days.
pub(super) const MAX_LEASE: u32 = 30 * 86_400;
/// Most addresses in one option.
const MAX_ADDRESSES: usize = 8;
/// Longest value of a static option, and longest domain.
const MAX_VALUE: usize = 128;
/// All static values together: a client need not take more than 576 bytes (RFC 2131, 2), and the boot file goes in too.
const MAX_STATIC: usize = 400;
/// Options that the server sets itself.
const OWN_OPTIONS: [u8; 22] = [1, 3, 6, 15, 42, 43, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 66, 67, 82, 97];

/// A checked subnet.
#[derive(Debug, Clone)]
pub(super) struct Subnet {
    network: u32,
    pub(super) prefix: u8,
    first: u32,
    last: u32,
    pub(super) config: LeaseConfig,
    pub(super) renew: u32,
    pub(super) rebind: u32,
    pub(super) options: BTreeMap<u8, Vec<u8>>,
    by_mac: HashMap<MacAddress, Ipv4Addr>,
    by_address: BTreeMap<Ipv4Addr, MacAddress>,
    /// Of the routers and servers that clients are told of: somebody has them already.
    taken: BTreeSet<Ipv4Addr>,
}

impl Subnet {
    /// Checks the settings of one subnet.
    pub(super) fn new(config: &LeaseConfig) -> Result<Self, LeaseConfigError> {
        let (network, prefix) =
            parse_subnet(&config.subnet).ok_or_else(|| LeaseConfigError::Subnet(config.subnet.clone()))?;
        let mut subnet = Self {
            network,
            prefix,
            first: 0,
            last: 0,
            config: config.clone(),
            renew: config.renew_seconds.unwrap_or(config.lease_seconds / 2),
            rebind: config.rebind_seconds.unwrap_or(config.lease_seconds / 8 * 7),
            options: parse_options(&config.options)?,
            by_mac: HashMap::new(),
            by_address: BTreeMap::new(),
            taken: [&config.router, &config.dns, &config.ntp].into_iter().flatten().copied().collect(),
        };
        (subnet.first, subnet.last) = subnet
            .parse_pool(&config.pool)
            .ok_or_else(|| LeaseConfigError::Pool { pool: config.pool.clone(), subnet: config.subnet.clone() })?;
        subnet.check_times()?;
        subnet.check_sizes()?;
        for reservation in &config.reservations {
            let (mac, address) = (reservation.mac, reservation.address);
            let is_new =
                subnet.by_mac.insert(mac, address).is_none() & subnet.by_address.insert(address, mac).is_none();
            if !is_new || !subnet.is_host(address) {
                return Err(LeaseConfigError::Reservation(address, mac));
            }
        }
        Ok(subnet)
    }

    fn check_times(&self) -> Result<(), LeaseConfigError> {
        let (renew, rebind, lease) = (self.renew, self.rebind, self.config.lease_seconds);
        let fits = (60..=MAX_LEASE).contains(&lease) && 0 < renew && renew < rebind && rebind < lease;
        if fits { Ok(()) } else { Err(LeaseConfigError::Times { renew, rebind, lease }) }
    }

    fn check_sizes(&self) -> Result<(), LeaseConfigError> {
        let config = &self.config;
        let domain = config.domain.as_deref().unwrap_or_default();
        let lists = [&config.router, &config.dns, &config.ntp];
        let is_domain = domain.len() <= MAX_VALUE && domain.bytes().all(|b| b.is_ascii_graphic());
        if lists.iter().any(|list| list.len() > MAX_ADDRESSES) || !is_domain {
            return Err(LeaseConfigError::TooMuch(config.subnet.clone()));
        }
        let addresses: usize = lists.iter().map(|list| 2 + 4 * list.len()).sum();
        let others: usize = self.options.values().map(|value| 2 + value.len()).sum();
        if addresses + others + domain.len() > MAX_STATIC {
            return Err(LeaseConfigError::TooLong(config.subnet.clone()));
        }
        Ok(())
    }

    fn parse_pool(&self, text: &str) -> Option<(u32, u32)> {
        let (first, last) = text.split_once('-')?;
        let (first, last): (Ipv4Addr, Ipv4Addr) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        let range = (u32::from(first), u32::from(last));
        let fits = self.is_host(first) && self.is_host(last) && range.0 <= range.1 && range.1 - range.0 < MAX_POOL;
        fits.then_some(range)
    }

    /// Whether two subnets share addresses.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.network.into()) || other.contains(self.network.into())
    }

    /// Whether an address belongs to the subnet.
    pub(super) fn contains(&self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask() == self.network
    }

    /// Whether it is one that a host of the subnet may have.
    pub(super) fn is_host(&self, address: Ipv4Addr) -> bool {
        let number = u32::from(address);
        self.contains(address) && number != self.network && number != self.network | !self.mask()
    }

    fn mask(&self) -> u32 {
        u32::MAX << (32 - u32::from(self.prefix))
    }

    /// The subnet mask.
    pub(super) fn netmask(&self) -> Ipv4Addr {
        self.mask().into()
    }

    /// The address that is reserved for a card.
    pub(super) fn reserved_for(&self, mac: MacAddress) -> Option<Ipv4Addr> {
        self.by_mac.get(&mac).copied()
    }

    /// All reservations, in the order of their addresses.
    pub(super) fn reservations(&self) -> impl Iterator<Item = (Ipv4Addr, MacAddress)> + '_ {
        self.by_address.iter().map(|(address, mac)| (*address, *mac))
    }

    /// Whether a card may have an address: its own reservation, or one of the pool that nobody else has reserved.
    pub(super) fn allows(&self, mac: MacAddress, address: Ipv4Addr) -> bool {
        match (self.by_address.get(&address), self.by_mac.get(&mac)) {
            (Some(owner), _) => *owner == mac,
            (None, _) => self.is_pooled(address),
        }
    }

    /// Whether an address is in the pool, not reserved, and not one of a router or server that clients are told of.
    pub(super) fn is_pooled(&self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&u32::from(address))
            && !self.by_address.contains_key(&address)
            && !self.taken.contains(&address)
    }

    /// The addresses of the pool that anybody may get.
    pub(super) fn pool(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        (self.first..=self.last).map(Ipv4Addr::from).filter(|address| self.is_pooled(*address))
    }
}

fn parse_subnet(text: &str) -> Option<(u32, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let address = u32::from(address.parse::<Ipv4Addr>().ok()?);
    let prefix: u8 = prefix.parse().ok().filter(|prefix| (8..=30).contains(prefix))?;
    (address & !(u32::MAX << (32 - u32::from(prefix))) == 0).then_some((address, prefix))
}

fn parse_options(options: &BTreeMap<String, String>) -> Result<BTreeMap<u8, Vec<u8>>, LeaseConfigError> {
    let parse = |(number, value): (&String, &String)| {
        let parsed = number.parse::<u8>().ok().filter(|code| (2..=254).contains(code) && !OWN_OPTIONS.contains(code));
        let value = parse_hex(value).filter(|value| (1..=MAX_VALUE).contains(&value.len()));
        parsed.zip(value).ok_or_else(|| LeaseConfigError::Option(number.clone()))
    };
    options.iter().map(parse).collect()
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
