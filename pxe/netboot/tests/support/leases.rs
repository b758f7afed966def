//! A DHCP server with one subnet and one relayed subnet, and packets of its clients.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use meadow_model::MacAddress;
use meadow_model::boot::BootPolicy;
use meadow_netboot::dhcp::{
    LeaseConfig, LeaseOutcome, LeaseRecord, LeaseServer, ProxyDhcp, Receive, Reservation, ServerConfig,
};

use super::packets::{Everyone, on_67, option, request};

pub const RELAY: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
pub const LEASE: u32 = 3600;

pub fn mac(last: u8) -> MacAddress {
    MacAddress([2, 0, 0, 0, 0, last])
}

pub fn pool(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, last)
}

/// 10.77.0.10 to .13, one of them reserved for card 200, and two addresses behind a relay.
pub fn configs() -> Vec<LeaseConfig> {
    let local: LeaseConfig = LeaseConfig {
        subnet: "10.77.0.0/24".into(),
        pool: "10.77.0.10-10.77.0.13".into(),
        router: vec![pool(1)],
        dns: vec![pool(1)],
        ntp: vec![],
        domain: Some("home.arpa".into()),
        lease_seconds: LEASE,
        renew_seconds: None,
        rebind_seconds: None,
        options: [("252".to_owned(), "6162".to_owned())].into(),
        reservations: vec![Reservation { mac: mac(200), address: pool(12) }],
    };
    let relayed = LeaseConfig {
        subnet: "10.78.0.0/24".into(),
        pool: "10.78.0.10-10.78.0.11".into(),
        reservations: vec![],
        ..local.clone()
    };
    vec![local, relayed]
}

/// The server with a boot server that boots nobody, or everybody.
pub struct Server {
    pub leases: LeaseServer,
    pub boot: ProxyDhcp,
    pub policy: Everyone,
    pub now: Duration,
}

impl Server {
    pub fn new(policy: BootPolicy) -> Self {
        Self {
            leases: LeaseServer::new(&configs()).expect("settings"),
            boot: ProxyDhcp::new(ServerConfig { http_port: 7480 }),
            policy: Everyone::gets(policy),
            now: Duration::from_secs(1000),
        }
    }

    pub fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    pub fn handle(&mut self, rx: &Receive, bytes: &[u8]) -> LeaseOutcome {
        self.leases.handle(self.now, rx, bytes, &mut self.boot, &self.policy)
    }

    /// Type and address of what is answered.
    pub fn say(&mut self, rx: &Receive, bytes: &[u8]) -> Option<(u8, Ipv4Addr)> {
        self.handle(rx, bytes).reply.map(|reply| (kind(&reply.payload), yiaddr(&reply.payload)))
    }

    /// A whole exchange of a client that takes what it is offered.
    pub fn lease(&mut self, client: &Client) -> Option<Ipv4Addr> {
        let (_, offered) = self.say(&on_67(), &client.discover())?;
        let (kind, address) = self.say(&on_67(), &client.select(offered))?;
        assert_eq!((kind, address), (5, offered));
        Some(address)
    }

    /// The same leases after a restart that took no time.
    pub fn restarted(&self) -> Self {
        let mut server = Self::new(BootPolicy::Ignore);
        for record in self.leases.records(self.now) {
            server.leases.restore(server.now, record);
        }
        server
    }
}

pub fn kind(reply: &[u8]) -> u8 {
    option(reply, 53).expect("a message type")[0]
}

pub fn yiaddr(reply: &[u8]) -> Ipv4Addr {
    <[u8; 4]>::try_from(&reply[16..20]).expect("four bytes").into()
}

pub fn bound(record: &LeaseRecord) -> (Ipv4Addr, Option<MacAddress>) {
    (record.address, record.client.as_ref().map(|client| client.mac()))
}

/// A client's card and further options.
#[derive(Debug, Clone)]
pub struct Client {
    pub mac: MacAddress,
    pub more: Vec<(u8, Vec<u8>)>,
}

impl Client {
    pub fn new(last: u8) -> Self {
        Self { mac: mac(last), more: vec![] }
    }

    pub fn with(last: u8, more: &[(u8, &[u8])]) -> Self {
        Self { mac: mac(last), more: more.iter().map(|(code, value)| (*code, value.to_vec())).collect() }
    }

    /// A message with these options and, in `ciaddr`, this address.
    pub fn message(&self, kind: u8, ciaddr: Ipv4Addr, options: &[(u8, &[u8])]) -> Vec<u8> {
        let kind = [kind];
        let mut all: Vec<(u8, &[u8])> = vec![(53, &kind)];
        all.extend_from_slice(options);
        all.extend(self.more.iter().map(|(code, value)| (*code, value.as_slice())));
        let mut bytes = request(&all);
        bytes[12..16].copy_from_slice(&ciaddr.octets());
        bytes[28..34].copy_from_slice(&self.mac.0);
        bytes
    }

    pub fn discover(&self) -> Vec<u8> {
        self.message(1, Ipv4Addr::UNSPECIFIED, &[])
    }

    pub fn select(&self, address: Ipv4Addr) -> Vec<u8> {
        self.select_of(super::packets::SERVER, address)
    }

    pub fn select_of(&self, server: Ipv4Addr, address: Ipv4Addr) -> Vec<u8> {
        self.message(3, Ipv4Addr::UNSPECIFIED, &[(54, &server.octets()), (50, &address.octets())])
    }

    pub fn reboot(&self, address: Ipv4Addr) -> Vec<u8> {
        self.message(3, Ipv4Addr::UNSPECIFIED, &[(50, &address.octets())])
    }

    pub fn renew(&self, address: Ipv4Addr) -> Vec<u8> {
        self.message(3, address, &[])
    }

    pub fn release(&self, address: Ipv4Addr) -> Vec<u8> {
        self.message(7, address, &[(54, &super::packets::SERVER.octets())])
    }

    pub fn decline(&self, address: Ipv4Addr) -> Vec<u8> {
        let server = super::packets::SERVER.octets();
        self.message(4, Ipv4Addr::UNSPECIFIED, &[(54, &server), (50, &address.octets())])
    }
}

pub fn from(address: Ipv4Addr, port: u16) -> Receive {
    Receive { source: SocketAddrV4::new(address, port), ..on_67() }
}

/// A client's message as a relay passes it on.
pub fn relayed(mut bytes: Vec<u8>, giaddr: Ipv4Addr) -> Vec<u8> {
    bytes[24..28].copy_from_slice(&giaddr.octets());
    bytes
}
