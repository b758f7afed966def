//! DHCP clients behind a relay agent: as many at once as wanted, each with a card of its own.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dhcproto::v4::{Architecture, DhcpOption, HType, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable, Encoder};

/// Port of servers and relay agents.
const PORT: u16 = 67;
/// When a client asks again, and how often it asks in all.
const PATIENCE: Duration = Duration::from_secs(1);
const TIMES: u32 = 5;
/// How long the socket waits before clients are looked after.
const TICK: Duration = Duration::from_millis(50);

/// A relay agent with the clients behind it.
#[derive(Debug)]
pub(crate) struct Relay {
    socket: UdpSocket,
    address: Ipv4Addr,
    server: SocketAddr,
}

/// How many clients got a lease, and in what time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leased {
    /// Leases.
    pub(crate) leases: u32,
    /// Clients that asked five times in vain.
    pub(crate) failed: u32,
    /// From the first DISCOVER to the last ACK.
    pub(crate) seconds: f64,
}

/// One client that waits for an answer.
struct Waiting {
    sent: Message,
    since: Instant,
    times: u32,
}

impl Relay {
    /// Opens it in the namespace of the calling thread.
    ///
    /// # Errors
    /// When the port is taken.
    pub(crate) fn open(address: Ipv4Addr, server: Ipv4Addr) -> Result<Self> {
        let socket = UdpSocket::bind((address, PORT)).with_context(|| format!("no relay agent at {address}"))?;
        socket.set_read_timeout(Some(TICK))?;
        Ok(Self { socket, address, server: SocketAddr::from((server, PORT)) })
    }

    /// Asks for an offer as the client with this number, and gives it with the seconds that it took.
    ///
    /// # Errors
    /// When no offer comes.
    pub(crate) fn offer(&self, number: u32, wishes: &[DhcpOption]) -> Result<(Message, f64)> {
        let discover = self.message(number, MessageType::Discover, wishes);
        for _ in 0..TIMES {
            let begun = Instant::now();
            self.send(&discover)?;
            while begun.elapsed() < PATIENCE {
                if let Some(offer) = self.receive()?.filter(|reply| reply.xid() == number) {
                    return Ok((offer, begun.elapsed().as_secs_f64()));
                }
            }
        }
        anyhow::bail!("{} does not offer anything", self.server)
    }

    /// `count` clients from number `first` on get a lease each, at most `at_once` at one time.
    ///
    /// # Errors
    /// When the network fails.
    pub(crate) fn leases(&self, first: u32, count: u32, at_once: usize) -> Result<Leased> {
        let begun = Instant::now();
        let (mut next, end) = (first, first + count);
        let mut waiting: HashMap<u32, Waiting> = HashMap::new();
        let (mut leases, mut failed) = (0, 0);
        while next < end || !waiting.is_empty() {
            while next < end && waiting.len() < at_once {
                waiting.insert(next, self.ask(self.message(next, MessageType::Discover, &[]))?);
                next += 1;
            }
            let Some(reply) = self.receive()? else {
                failed += self.look_after(&mut waiting)?;
                continue;
            };
            let kind = |of: &Message| of.opts().msg_type();
            let Some(asked) = waiting.get(&reply.xid()).map(|waiting| kind(&waiting.sent)) else { continue };
            match (asked, kind(&reply)) {
                (Some(MessageType::Discover), Some(MessageType::Offer)) => {
                    let request = self.message(reply.xid(), MessageType::Request, &chosen(&reply)?);
                    waiting.insert(reply.xid(), self.ask(request)?);
                }
                (Some(MessageType::Request), Some(MessageType::Ack)) => {
                    waiting.remove(&reply.xid());
                    leases += 1;
                }
                _ => {}
            }
        }
        Ok(Leased { leases, failed, seconds: begun.elapsed().as_secs_f64() })
    }

    /// Sends again what was not answered; how many clients have given up.
    fn look_after(&self, waiting: &mut HashMap<u32, Waiting>) -> Result<u32> {
        let before = waiting.len();
        waiting.retain(|_, client| client.since.elapsed() < PATIENCE || client.times < TIMES);
        let late = |client: &&mut Waiting| client.since.elapsed() >= PATIENCE;
        for client in waiting.values_mut().filter(late) {
            self.send(&client.sent)?;
            (client.since, client.times) = (Instant::now(), client.times + 1);
        }
        Ok(u32::try_from(before - waiting.len())?)
    }

    fn ask(&self, message: Message) -> Result<Waiting> {
        self.send(&message)?;
        Ok(Waiting { sent: message, since: Instant::now(), times: 1 })
    }

    /// The client's number is its transaction too.
    fn message(&self, number: u32, kind: MessageType, options: &[DhcpOption]) -> Message {
        let [a, b, c, d] = number.to_be_bytes();
        let none = Ipv4Addr::UNSPECIFIED;
        let mut message = Message::new_with_id(number, none, none, none, self.address, &[2, 0, a, b, c, d]);
        message.set_opcode(Opcode::BootRequest).set_htype(HType::Eth).set_hops(1);
        let wanted =
            [OptionCode::SubnetMask, OptionCode::Router, OptionCode::DomainNameServer, OptionCode::BootfileName];
        message.opts_mut().insert(DhcpOption::MessageType(kind));
        message.opts_mut().insert(DhcpOption::ParameterRequestList(wanted.to_vec()));
        for option in options {
            message.opts_mut().insert(option.clone());
        }
        message
    }

    fn send(&self, message: &Message) -> Result<()> {
        let mut bytes = Vec::with_capacity(512);
        message.encode(&mut Encoder::new(&mut bytes))?;
        self.socket.send_to(&bytes, self.server)?;
        Ok(())
    }

    fn receive(&self) -> Result<Option<Message>> {
        let mut bytes = [0; 1500];
        match self.socket.recv_from(&mut bytes) {
            Ok((length, from)) if from == self.server => {
                let bytes = bytes.get(..length).unwrap_or_default();
                Ok(Some(Message::decode(&mut Decoder::new(bytes)).context("the reply is none")?))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// What a client says to take an offer.
fn chosen(offer: &Message) -> Result<[DhcpOption; 2]> {
    let server = offer.opts().get(OptionCode::ServerIdentifier).context("an offer of nobody")?;
    ensure!(!offer.yiaddr().is_unspecified(), "an offer of no address");
    Ok([server.clone(), DhcpOption::RequestedIpAddress(offer.yiaddr())])
}

/// What firmware says beside: a BIOS with PXE, or iPXE on it.
pub(crate) fn bios(ipxe: bool) -> Vec<DhcpOption> {
    let mut options = vec![
        DhcpOption::ClassIdentifier(b"PXEClient:Arch:00000:UNDI:002001".to_vec()),
        DhcpOption::ClientSystemArchitecture(Architecture::X86_Bios),
    ];
    if ipxe {
        options.push(DhcpOption::UserClass(b"iPXE".to_vec()));
    }
    options
}
