//! Network interfaces, by rtnetlink.

mod change;
mod dump;
mod wait;

use std::net::IpAddr;
use std::path::Path;

use crate::Cidr;
use crate::background::Background;
use meadow_model::MacAddress;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};

/// A call to the kernel's routing socket failed.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No netlink socket.
    #[error("cannot open a routing netlink socket: {0}; the process needs AF_NETLINK")]
    Socket(#[from] std::io::Error),
    /// The kernel refused.
    #[error("cannot {action}: {message}{}", if *.permission { "; run as root, or with CAP_NET_ADMIN" } else { "" })]
    Refused {
        /// What was tried.
        action: String,
        /// What the kernel said.
        message: String,
        /// The error number where there is one.
        errno: Option<i32>,
        /// Whether it is about permissions.
        permission: bool,
    },
    /// There is no such interface.
    #[error("there is no network interface {0}; `ip link` lists those there are")]
    NoInterface(String),
    /// An interface that was given up does not go.
    #[error("the network interface {0} is still held by something; remove it with `ip link delete {0}`")]
    StillThere(String),
    /// What was waited for did not come.
    #[error("no {what} on {interface} within {seconds} s; check the cable and whether the router gives out addresses")]
    TimedOut {
        /// The interface, or "any interface".
        interface: String,
        /// What was waited for.
        what: &'static str,
        /// How long, in seconds.
        seconds: u64,
    },
}

impl LinkError {
    /// The error number that the kernel gave.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { errno, .. } => *errno,
            Self::Socket(error) => error.raw_os_error(),
            Self::NoInterface(_) | Self::StillThere(_) | Self::TimedOut { .. } => None,
        }
    }

    /// Gives a netlink error the words for what was tried.
    pub(crate) fn refused(action: String) -> impl FnOnce(rtnetlink::Error) -> Self {
        move |error| {
            let (message, errno) = match &error {
                rtnetlink::Error::NetlinkError(message) => {
                    let error = message.to_io();
                    (error.to_string(), error.raw_os_error())
                }
                other => (other.to_string(), None),
            };
            let permission = matches!(errno, Some(libc::EPERM | libc::EACCES));
            Self::Refused { action, message, errno, permission }
        }
    }
}

/// A network interface as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address, where it has one.
    pub mac: Option<MacAddress>,
    /// The address that the card was made with, where it tells; a bond or an administrator may have set another.
    pub permanent_mac: Option<MacAddress>,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// Whether it is set up.
    pub up: bool,
    /// Whether there is a link: a cable with a live other end.
    pub carrier: bool,
    /// Whether it is a loopback interface.
    pub loopback: bool,
    /// Kind of a virtual interface (`bridge`, `veth`, `wireguard`, `tun`); `None` for a real card.
    pub kind: Option<String>,
    /// Kernel driver of a real card.
    pub driver: Option<String>,
    /// Its addresses, IPv4 first, link-local ones too.
    pub addresses: Vec<Cidr>,
}

impl Link {
    /// Addresses that others can reach: neither loopback nor link-local.
    pub fn routable_addresses(&self) -> impl Iterator<Item = Cidr> + '_ {
        self.addresses.iter().copied().filter(|cidr| match cidr.address() {
            IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
            IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
        })
    }
}

/// The kernel's routing socket, in the network namespace of the thread that asks.
///
/// Every question has a socket of its own: the kernel answers one list at a time on each, so that questions at the same
/// time would make the next fail (`EBUSY`).
#[derive(Clone, Copy, Debug)]
pub struct Links(());

/// A socket and the task that serves it.
struct Connection {
    handle: rtnetlink::Handle,
    _background: Background,
}

impl Connection {
    fn open() -> Result<Self, LinkError> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        Ok(Self { handle, _background: Background::spawn(connection) })
    }
}

impl Links {
    /// Checks that there is such a socket. What changes something must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`LinkError::Socket`]
    pub fn open() -> Result<Self, LinkError> {
        dump::open()?;
        Ok(Self(()))
    }

    /// All interfaces, by index.
    ///
    /// # Errors
    /// [`LinkError::Refused`]
    pub async fn list(&self) -> Result<Vec<Link>, LinkError> {
        let action = "list the network interfaces";
        let messages = dump::dump(action, RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        let mut links: Vec<Link> = messages
            .into_iter()
            .filter_map(|message| match message {
                RouteNetlinkMessage::NewLink(link) => Some(link_of(link)),
                _ => None,
            })
            .collect();
        for message in dump::dump(action, RouteNetlinkMessage::GetAddress(AddressMessage::default()))? {
            let RouteNetlinkMessage::NewAddress(message) = message else { continue };
            let cidr = address_of(&message.attributes).and_then(|a| Cidr::new(a, message.header.prefix_len).ok());
            let link = links.iter_mut().find(|link| link.index == message.header.index);
            if let (Some(cidr), Some(link)) = (cidr, link) {
                link.addresses.push(cidr);
            }
        }
        links.sort_by_key(|link| link.index);
        for link in &mut links {
            link.addresses.sort_unstable();
        }
        Ok(links)
    }

    /// The interface of this name.
    ///
    /// # Errors
    /// [`LinkError::NoInterface`] where there is none.
    pub async fn find(&self, name: &str) -> Result<Link, LinkError> {
        let link = self.list().await?.into_iter().find(|link| link.name == name);
        link.ok_or_else(|| LinkError::NoInterface(name.to_owned()))
    }
}

fn link_of(message: LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        mac: None,
        permanent_mac: None,
        mtu: 0,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        loopback: flags.contains(LinkFlags::Loopback),
        kind: None,
        driver: None,
        addresses: Vec::new(),
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(bytes) => link.mac = bytes.try_into().ok().map(MacAddress),
            LinkAttribute::PermAddress(bytes) => link.permanent_mac = bytes.try_into().ok().map(MacAddress),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::LinkInfo(infos) => link.kind = infos.iter().find_map(kind_of),
            _ => {}
        }
    }
    link.driver = driver_of(&link.name);
    link
}

fn kind_of(info: &LinkInfo) -> Option<String> {
    match info {
        LinkInfo::Kind(InfoKind::Other(kind)) => Some(kind.clone()),
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    }
}

/// On a point-to-point interface `IFA_ADDRESS` is the other end and `IFA_LOCAL` ours; elsewhere they are the same.
fn address_of(attributes: &[AddressAttribute]) -> Option<IpAddr> {
    let local = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

/// The name of the driver is the last part of a symlink in sysfs; virtual interfaces have none.
fn driver_of(interface: &str) -> Option<String> {
    let target = std::fs::read_link(Path::new("/sys/class/net").join(interface).join("device/driver")).ok()?;
    Some(target.file_name()?.to_string_lossy().into_owned())
}
