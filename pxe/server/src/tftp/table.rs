//! Which transfers there are, and how many there may be.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id};

/// Transfers at once whose client has answered. Beyond them the address with the most gives one up, if it has more than
/// the newcomer; else the request is dropped, and its client repeats it.
const MAX_ANSWERED: usize = 512;
/// Transfers at once whose client has not answered yet and may be forged: the oldest makes room, which had the most time.
const MAX_UNANSWERED: usize = 1024;
/// Transfers at once of one address. The oldest one whose client has not answered makes room: forged requests do not
/// keep their victim from its file.
const MAX_PER_ADDRESS: usize = 256;
/// Datagrams that wait for one transfer.
const MAILBOX: usize = 8;
/// Acknowledgements have 4 bytes, errors a text.
const MAX_DATAGRAM: usize = 600;
/// First bytes of a read request.
pub(super) const READ_REQUEST: &[u8] = &[0, 1];

/// What a transfer is told by the task that reads port 69.
#[derive(Debug)]
pub(super) enum Message {
    /// The client repeated its request.
    RequestAgain,
    /// What it sent, in single-port mode.
    Datagram(Vec<u8>),
}

/// How far a transfer is, as the table needs to know it.
#[derive(Debug, Default)]
pub(super) struct TransferStatus(AtomicU8);

const UNANSWERED: u8 = 0;
const ANSWERED: u8 = 1;
const SILENT: u8 = 2;
const ENDED: u8 = 3;

impl TransferStatus {
    /// The client has acknowledged something just now.
    pub(super) fn answered(&self) {
        self.0.store(ANSWERED, Ordering::Relaxed);
    }

    /// The client, which had answered before, has been silent for a while.
    pub(super) fn silent(&self) {
        self.0.store(SILENT, Ordering::Relaxed);
    }

    fn is(&self, state: u8) -> bool {
        self.0.load(Ordering::Relaxed) == state
    }
}

/// A client on an interface: two LANs may use the same addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Client {
    pub(super) port: Port,
    pub(super) address: SocketAddr,
}

/// A port 69 of this server, for as long as it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Port(u64);

#[derive(Debug)]
struct Entry {
    mailbox: mpsc::Sender<Message>,
    status: Arc<TransferStatus>,
    task: Option<AbortHandle>,
    /// Counts up.
    number: u64,
}

/// All transfers of the server: its interfaces share the bounds.
#[derive(Debug, Default)]
pub(crate) struct Table {
    ports: u64,
    begun: u64,
    entries: HashMap<Client, Entry>,
    clients: HashMap<Id, Client>,
    per_address: HashMap<IpAddr, usize>,
    /// In the order of their requests; those that were answered or ended since are weeded out when it is full.
    unanswered: VecDeque<(Client, Arc<TransferStatus>)>,
}

impl Table {
    /// A port is opened.
    pub(super) fn open(&mut self) -> Port {
        self.ports += 1;
        Port(self.ports)
    }

    /// A port is closed; its transfers end.
    pub(super) fn close(&mut self, port: Port) {
        let clients: Vec<_> = self.entries.keys().filter(|client| client.port == port).copied().collect();
        for client in clients {
            self.drop_entry(client);
        }
        self.clients.retain(|_, client| client.port != port);
        self.unanswered.retain(|(client, _)| client.port != port);
    }

    /// Passes a datagram on to the transfer that it belongs to; whether there is one. A request from the port of a
    /// transfer that got stuck begins a new one: the machine was reset, and boot ROMs use the same port again.
    pub(super) fn pass(&mut self, client: Client, datagram: &[u8]) -> bool {
        let is_request = datagram.starts_with(READ_REQUEST);
        if is_request && self.entries.get(&client).is_some_and(|entry| entry.status.is(SILENT)) {
            self.drop_entry(client);
        }
        let Some(entry) = self.entries.get(&client) else { return false };
        let message = if is_request {
            Message::RequestAgain
        } else {
            Message::Datagram(datagram[..datagram.len().min(MAX_DATAGRAM)].to_vec())
        };
        // A full mailbox loses it, as a full socket would.
        let _ = entry.mailbox.try_send(message);
        true
    }

    /// Makes room for a transfer to `client`, which has none. Gives its status, its mailbox and how many others had to
    /// go; `None` if there is no room.
    pub(super) fn make_room(&mut self, client: Client) -> Option<(Arc<TransferStatus>, mpsc::Receiver<Message>, u64)> {
        let going = self.going(client.address.ip())?;
        for other in &going {
            self.drop_entry(*other);
        }
        let evicted = going.len() as u64;
        self.begun += 1;
        let (mailbox, messages) = mpsc::channel(MAILBOX);
        let status = Arc::new(TransferStatus::default());
        self.unanswered.push_back((client, status.clone()));
        *self.per_address.entry(client.address.ip()).or_default() += 1;
        self.entries.insert(client, Entry { mailbox, status: status.clone(), task: None, number: self.begun });
        Some((status, messages, evicted))
    }

    /// Who has to go for a newcomer from this address; `None` if there is no room, and then nobody goes.
    fn going(&mut self, newcomer: IpAddr) -> Option<Vec<Client>> {
        if self.unanswered.len() >= MAX_UNANSWERED {
            self.unanswered.retain(|(_, status)| status.is(UNANSWERED));
        }
        let oldest = if self.count_of(newcomer) >= MAX_PER_ADDRESS {
            let is_its = |(client, status): &(Client, Arc<TransferStatus>)| {
                client.address.ip() == newcomer && status.is(UNANSWERED)
            };
            Some(self.unanswered.iter().position(is_its)?)
        } else {
            (self.unanswered.len() >= MAX_UNANSWERED).then_some(0)
        };
        // The queue holds all that are unanswered, so that the others are answered.
        let is_full = self.entries.len().saturating_sub(self.unanswered.len()) >= MAX_ANSWERED;
        let greedy = if is_full { Some(self.greediest(newcomer)?) } else { None };
        let oldest = oldest.and_then(|at| self.unanswered.remove(at)).map(|(client, _)| client);
        Some(oldest.into_iter().chain(greedy).collect())
    }

    fn count_of(&self, address: IpAddr) -> usize {
        self.per_address.get(&address).copied().unwrap_or(0)
    }

    /// The oldest transfer of the address that has the most, if that is more than the newcomer has with one more. Only
    /// those whose client has answered count: requests that are forged in the name of a machine make it not greedy.
    fn greediest(&self, newcomer: IpAddr) -> Option<Client> {
        let mut by_address: HashMap<IpAddr, (usize, u64, Client)> = HashMap::new();
        let answered = self.entries.iter().filter(|(_, entry)| !entry.status.is(UNANSWERED));
        for (client, entry) in answered {
            let (count, oldest, of) = by_address.entry(client.address.ip()).or_insert((0, entry.number, *client));
            *count += 1;
            if entry.number < *oldest {
                (*oldest, *of) = (entry.number, *client);
            }
        }
        let own = by_address.get(&newcomer).map_or(0, |(count, ..)| *count);
        let (most, _, oldest) = by_address.into_values().max_by_key(|(count, number, _)| (*count, Reverse(*number)))?;
        (most > own + 1).then_some(oldest)
    }

    /// The task of the transfer that room was made for.
    pub(super) fn insert(&mut self, client: Client, task: AbortHandle) {
        self.clients.insert(task.id(), client);
        if let Some(entry) = self.entries.get_mut(&client) {
            entry.task = Some(task);
        }
    }

    /// Takes back the room of a transfer that could not begin.
    pub(super) fn forget(&mut self, client: Client) {
        self.drop_entry(client);
    }

    /// A task has ended.
    pub(super) fn remove(&mut self, task: Id) {
        // A client that was dropped before may have another transfer now.
        if let Some(client) = self.clients.remove(&task)
            && self.entries.get(&client).and_then(|entry| entry.task.as_ref()).is_some_and(|held| held.id() == task)
        {
            self.drop_entry(client);
        }
    }

    fn drop_entry(&mut self, client: Client) {
        let Some(entry) = self.entries.remove(&client) else { return };
        entry.status.0.store(ENDED, Ordering::Relaxed);
        if let Some(task) = entry.task {
            task.abort();
        }
        if let Some(count) = self.per_address.get_mut(&client.address.ip()) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&client.address.ip());
            }
        }
    }
}

#[cfg(test)]
mod target;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn client(number: u32) -> Client {
        at(Port::default(), (Ipv4Addr::from(0x0a00_0000 + number), 2070).into())
    }

    fn at(port: Port, address: SocketAddr) -> Client {
        Client { port, address }
    }

    #[test]
    fn a_flood_of_forged_requests_leaves_bounded_state_and_room_for_who_answers() {
        let mut table = Table::default();
        let (real, ..) = table.make_room(client(0)).expect("room");
        real.answered();
        let mut evicted = 0;
        for number in 1..=10_000 {
            evicted += table.make_room(client(number)).expect("room for each, for a while").2;
        }
        assert_eq!(evicted, 10_000 - MAX_UNANSWERED as u64);
        assert_eq!((table.entries.len(), table.per_address.len()), (MAX_UNANSWERED + 1, MAX_UNANSWERED + 1));
        assert!(table.unanswered.len() <= MAX_UNANSWERED);
        assert!(table.pass(client(0), &[0, 4, 0, 1]), "who answered stays");
        assert!(!table.pass(client(1), &[0, 4, 0, 1]), "the oldest went");
    }

    #[test]
    fn answered_transfers_are_bounded_in_all_and_for_one_address() {
        let mut table = Table::default();
        for number in 0..MAX_ANSWERED as u32 {
            table.make_room(client(number)).expect("room").0.answered();
        }
        // The queue is looked through only when it is full.
        let more =
            (10_000..10_000 + 2 * MAX_UNANSWERED as u32).filter(|&number| table.make_room(client(number)).is_some());
        assert!(more.count() < 2 * MAX_UNANSWERED);
        assert!(table.entries.len() <= MAX_ANSWERED + MAX_UNANSWERED);
        let mut table = Table::default();
        let port = |port| at(Port::default(), (Ipv4Addr::LOCALHOST, port).into());
        let admitted = (1..1000).filter(|&number| {
            let room = table.make_room(port(number));
            room.inspect(|(status, ..)| status.answered()).is_some()
        });
        assert_eq!(admitted.count(), MAX_PER_ADDRESS);
    }

    #[test]
    fn forged_requests_in_the_name_of_a_machine_do_not_keep_it_from_its_file() {
        let mut table = Table::default();
        let victim = IpAddr::from([10, 0, 0, 7]);
        let of = |port| at(Port::default(), (victim, port).into());
        let evicted: u64 = (1000..5000).map(|port| table.make_room(of(port)).expect("room").2).sum();
        assert_eq!((evicted, table.count_of(victim)), (4000 - MAX_PER_ADDRESS as u64, MAX_PER_ADDRESS));
        let (status, ..) = table.make_room(of(2070)).expect("its own request");
        status.answered();
        for port in 6000..8000 {
            table.make_room(of(port)).expect("room");
        }
        assert!(table.pass(of(2070), &[0, 4, 0, 1]), "who answered stays");
        assert!(table.unanswered.len() <= MAX_PER_ADDRESS);
    }

    #[test]
    fn two_greedy_addresses_do_not_lock_all_others_out() {
        let mut table = Table::default();
        let of = |last, port| at(Port::default(), ([10, 0, 0, last], port).into());
        let mut answered = |last, port| {
            let (status, .., evicted) = table.make_room(of(last, port))?;
            status.answered();
            Some(evicted)
        };
        // The queue of those that did not answer is looked through when it is full.
        let mut taken = 0;
        for port in 1..=MAX_PER_ADDRESS as u16 {
            taken += [1, 2].into_iter().filter(|last| answered(*last, port).is_some()).count();
        }
        assert_eq!(taken, MAX_ANSWERED);
        let newcomers = (3..=200).filter(|last| answered(*last, 2070).is_some()).count();
        assert_eq!(newcomers, 198);
        assert!(table.entries.len() <= MAX_ANSWERED + MAX_UNANSWERED);
        table.unanswered.clear();
        assert!(table.make_room(of(201, 2070)).is_some_and(|(.., evicted)| evicted == 1), "of the greedy one");
        assert!(!table.pass(of(1, 1), b"x") || !table.pass(of(2, 1), b"x"), "its oldest");
    }

    #[test]
    fn a_machine_that_was_reset_may_ask_again_from_the_same_port() {
        let mut table = Table::default();
        let (status, mut messages, _) = table.make_room(client(1)).expect("room");
        assert!(table.pass(client(1), b"\0\x01a"));
        status.answered();
        assert!(table.pass(client(1), b"\0\x01a"));
        assert!((0..2).all(|_| matches!(messages.try_recv(), Ok(Message::RequestAgain))));
        status.silent();
        assert!(!table.pass(client(1), b"\0\x01a"));
        table.forget(client(1));
    }

    #[test]
    fn a_port_that_is_closed_takes_its_own_transfers_along_and_no_others() {
        let mut table = Table::default();
        let (one, other) = (table.open(), table.open());
        let address = client(1).address;
        for port in [one, other] {
            table.make_room(at(port, address)).expect("room");
        }
        table.close(one);
        assert!(!table.pass(at(one, address), b"\0\x01a") && table.pass(at(other, address), b"\0\x01a"));
        assert_eq!((table.unanswered.len(), table.per_address[&address.ip()]), (1, 1));
    }
}
