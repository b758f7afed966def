//! The table of transfers as a target for hostile input, as those of `netboot/tests/targets.rs` are: many clients, their
//! requests, answers, floods and silence in any order.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use data_encoding::HEXLOWER;
use meadow_netboot::tftp::{MAX_WINDOW, Output, ReadRequest};
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::*;
use crate::tftp::session::Session;

#[path = "../../../../netboot/tests/support/mutation.rs"]
#[allow(missing_docs, unreachable_pub, reason = "shared with the targets of meadow-netboot")]
mod mutation;

/// Bytes of the file that all ask for.
const SIZE: u64 = 40_000;

/// A transfer as its task has it.
struct Job {
    client: Client,
    session: Session,
    messages: mpsc::Receiver<Message>,
    /// The last block that left.
    last: u16,
    /// Ends its task.
    _task: oneshot::Sender<()>,
}

/// What a client sent that has not proved to be where it says, and what it got for it.
#[derive(Default)]
struct Tally {
    requests: u64,
    packets: u64,
}

struct Rig {
    table: Table,
    ports: [Port; 2],
    tasks: JoinSet<()>,
    jobs: HashMap<Id, Job>,
    ids: HashMap<Client, Id>,
    tallies: HashMap<Client, Tally>,
    now: Duration,
    /// Addresses that were used once.
    forged: u32,
}

impl Rig {
    fn new() -> Self {
        let mut table = Table::default();
        let ports = [table.open(), table.open()];
        let now = Duration::from_secs(1000);
        let (tasks, jobs) = (JoinSet::new(), HashMap::new());
        Self { table, ports, tasks, jobs, ids: HashMap::new(), tallies: HashMap::new(), now, forged: 0 }
    }

    /// One of 8 addresses, half of them of IPv6, with 16 ports each, on one of two interfaces.
    fn client(&self, who: u8) -> Client {
        let number = who >> 4 & 7;
        let address: IpAddr = match number % 2 {
            0 => [10, 0, 0, number].into(),
            _ => [0xfe80, 0, 0, 0, 0, 0, 0, u16::from(number)].into(),
        };
        Client {
            port: self.ports[usize::from(who >> 7)],
            address: SocketAddr::new(address, 2000 + u16::from(who & 15)),
        }
    }

    /// One step of a script: what, who and how much.
    async fn step(&mut self, [what, who, value]: [u8; 3], script: &mut &[u8]) -> TestCaseResult {
        let client = self.client(who);
        match what % 9 {
            0 => self.take(client, &request(value)).await?,
            1 => self.take(client, &ack(self.last_of(client))).await?,
            2 => self.take(client, &ack(u16::from(value))).await?,
            3 => {
                let (datagram, rest) = script.split_at(script.len().min(usize::from(value)));
                *script = rest;
                self.take(client, datagram).await?;
            }
            4 => self.pass(Duration::from_micros(1 << (value % 26))).await?,
            5 => {
                let deadlines = self.jobs.values().map(|job| job.session.transfer().deadline());
                let next = deadlines.min().unwrap_or(self.now);
                self.pass(next.saturating_sub(self.now)).await?;
            }
            // The same client again and again, faster than its transfer reads.
            6 => {
                for _ in 0..value {
                    self.table.pass(client, &ack(0));
                }
                self.read(client).await?;
            }
            7 => self.flood(client, who, value).await?,
            _ => self.close(usize::from(who >> 7)).await?,
        }
        self.is_bounded()
    }

    /// Requests from many ports of one address, or from many addresses; of every other client an answer comes.
    async fn flood(&mut self, of: Client, who: u8, value: u8) -> TestCaseResult {
        for number in 0..u16::from(value) {
            self.forged += 1;
            let address = match who & 1 {
                0 => SocketAddr::new(of.address.ip(), 3000 + (self.forged % 600) as u16),
                _ => SocketAddr::from((Ipv4Addr::from(0x0b00_0000 + self.forged), 2070)),
            };
            let client = Client { address, ..of };
            self.take(client, &request(who)).await?;
            if who & 2 != 0 && number % 2 == 0 {
                self.take(client, &ack(self.last_of(client))).await?;
            }
        }
        Ok(())
    }

    /// A datagram comes to port 69, as `Server::take` has it.
    async fn take(&mut self, client: Client, datagram: &[u8]) -> TestCaseResult {
        if datagram.starts_with(READ_REQUEST) {
            self.tallies.entry(client).or_default().requests += 1;
        }
        let known = self.ids.get(&client).copied();
        if self.table.pass(client, datagram) {
            return self.read(client).await;
        }
        // One that got stuck and asked again.
        self.reap(usize::from(known.is_some())).await?;
        let Ok(request) = ReadRequest::parse(datagram) else { return Ok(()) };
        let Some((status, messages, evicted)) = self.table.make_room(client) else { return Ok(()) };
        let (session, output) = Session::start(self.now, &request, SIZE, status);
        let (task, ended) = oneshot::channel();
        let handle = self.tasks.spawn(async move { _ = ended.await });
        let id = handle.id();
        self.ids.insert(client, id);
        self.table.insert(client, handle);
        self.jobs.insert(id, Job { client, session, messages, last: 0, _task: task });
        let gone = self.reap(usize::try_from(evicted).expect("a few")).await?;
        for job in gone.iter().filter(|job| job.session.transfer().is_answered()) {
            let of = |job: &&Job| job.session.transfer().is_answered();
            let count = |ip| self.jobs.values().filter(of).filter(|job| job.client.address.ip() == ip).count();
            let (left, newcomers) = (count(job.client.address.ip()), count(client.address.ip()));
            prop_assert!(left > newcomers, "the one of {} made room though it had no more", job.client.address);
        }
        self.act(id, output).await
    }

    /// A transfer reads what waits for it.
    async fn read(&mut self, client: Client) -> TestCaseResult {
        let Some(id) = self.ids.get(&client).copied() else { return Ok(()) };
        while let Some(job) = self.jobs.get_mut(&id)
            && let Ok(message) = job.messages.try_recv()
        {
            let output = job.session.on_message(self.now, &message);
            self.act(id, output).await?;
        }
        Ok(())
    }

    /// Time passes.
    async fn pass(&mut self, time: Duration) -> TestCaseResult {
        self.now += time;
        let is_due = |job: &Job| job.session.transfer().deadline() <= self.now;
        let due: Vec<_> = self.jobs.iter().filter(|(_, job)| is_due(job)).map(|(id, _)| *id).collect();
        for id in due {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            let output = job.session.on_deadline(self.now);
            let is_sent = matches!(output, Output::Packet(_) | Output::Blocks(_));
            prop_assert!(job.session.transfer().is_answered() || !is_sent, "sent to nobody by itself: {output:?}");
            self.act(id, output).await?;
        }
        Ok(())
    }

    /// A transfer does what it wants.
    async fn act(&mut self, id: Id, output: Output) -> TestCaseResult {
        let Some(job) = self.jobs.get_mut(&id) else { return Ok(()) };
        let client = job.client;
        let is_answered = job.session.transfer().is_answered();
        if is_answered {
            self.tallies.remove(&client);
        }
        let bytes = match &output {
            Output::Wait => return Ok(()),
            Output::End(_) => {
                drop(self.forget(id));
                self.reap(1).await?;
                return Ok(());
            }
            Output::Packet(packet) => packet.len() as u64,
            Output::Blocks(window) => {
                job.last = window.first_block.wrapping_add(window.blocks - 1);
                window.length + 4 * u64::from(window.blocks)
            }
        };
        if !is_answered {
            let tally = self.tallies.entry(client).or_default();
            tally.packets += 1;
            prop_assert!(bytes <= 516 && tally.packets <= tally.requests, "{} packets, {bytes} bytes", tally.packets);
        }
        Ok(())
    }

    /// The port is closed and opened again.
    async fn close(&mut self, at: usize) -> TestCaseResult {
        let (old, before) = (self.ports[at], self.table.entries.len());
        self.table.close(old);
        self.ports[at] = self.table.open();
        for job in self.reap(before - self.table.entries.len()).await? {
            prop_assert!(job.client.port == old, "a transfer of the other port ended");
            prop_assert!(!self.table.pass(job.client, b"\0\x04\0\x01"), "a closed one hears nothing");
        }
        Ok(())
    }

    /// Takes away tasks that have ended, as the server does: exactly so many. The transfers that were cut off.
    async fn reap(&mut self, count: usize) -> Result<Vec<Job>, TestCaseError> {
        let (mut ended, mut jobs) = (0, Vec::new());
        // What was aborted ends at its next turn, behind all others that are to run.
        for _ in 0..MAX_ANSWERED + MAX_UNANSWERED {
            if ended >= count {
                break;
            }
            tokio::task::yield_now().await;
            while let Some(task) = self.tasks.try_join_next_with_id() {
                let id = task.map_or_else(|error| error.id(), |(id, ())| id);
                self.table.remove(id);
                jobs.extend(self.forget(id));
                ended += 1;
            }
        }
        prop_assert_eq!(ended, count, "tasks ended");
        Ok(jobs)
    }

    fn forget(&mut self, id: Id) -> Option<Job> {
        let job = self.jobs.remove(&id)?;
        self.ids.remove(&job.client);
        Some(job)
    }

    fn last_of(&self, client: Client) -> u16 {
        self.ids.get(&client).and_then(|id| self.jobs.get(id)).map_or(0, |job| job.last)
    }

    fn is_bounded(&self) -> TestCaseResult {
        let (table, transfers) = (&self.table, self.table.entries.len());
        prop_assert!(transfers <= MAX_ANSWERED + MAX_UNANSWERED && table.unanswered.len() <= MAX_UNANSWERED);
        prop_assert!(table.per_address.values().all(|count| (1..=MAX_PER_ADDRESS).contains(count)));
        prop_assert_eq!(table.per_address.values().sum::<usize>(), transfers);
        prop_assert_eq!((table.clients.len(), self.tasks.len(), self.jobs.len()), (transfers, transfers, transfers));
        Ok(())
    }

    /// All fall silent: nobody is kept.
    async fn end(mut self) -> TestCaseResult {
        for _ in 0..4 * MAX_WINDOW {
            let deadlines = self.jobs.values().map(|job| job.session.transfer().deadline());
            let Some(last) = deadlines.max() else { break };
            self.pass(last.saturating_sub(self.now)).await?;
        }
        prop_assert!(self.jobs.is_empty(), "{} silent clients are kept", self.jobs.len());
        self.is_bounded()
    }
}

fn ack(block: u16) -> [u8; 4] {
    let [high, low] = block.to_be_bytes();
    [0, 4, high, low]
}

fn request(options: u8) -> Vec<u8> {
    let mut bytes = b"\0\x01file\0octet\0".to_vec();
    for (bit, option) in
        [&b"blksize\x001428\0"[..], b"windowsize\x0016\0", b"tsize\x000\0", b"timeout\x002\0"].iter().enumerate()
    {
        if options >> (4 + bit) & 1 == 1 {
            bytes.extend_from_slice(option);
        }
    }
    bytes
}

fn check(bytes: &[u8]) -> TestCaseResult {
    let play = async {
        let (mut rig, mut script) = (Rig::new(), bytes);
        while let Some((step, rest)) = script.split_first_chunk() {
            script = rest;
            rig.step(*step, &mut script).await?;
        }
        rig.end().await
    };
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(play)
}

/// The files of `testdata/corpus/tftp_table/`.
#[allow(clippy::disallowed_methods, reason = "the corpus is ours, and no limit is needed")]
fn seeds() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/corpus/tftp_table");
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("a corpus").map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    let read = |file| {
        let text = std::fs::read_to_string(file).expect("text");
        let digits: String = text.lines().filter(|line| !line.starts_with('#')).collect();
        HEXLOWER.decode(digits.as_bytes()).expect("hex")
    };
    files.into_iter().map(read).collect()
}

#[test]
fn takes_its_corpus() {
    for seed in seeds() {
        check(&seed).unwrap_or_else(|error| panic!("{error}: {seed:02x?}"));
    }
}

proptest! {
    #[test]
    fn takes_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes)?;
    }

    #[test]
    fn takes_damaged_seeds(bytes in mutation::mutated_from(seeds())) {
        check(&bytes)?;
    }
}
