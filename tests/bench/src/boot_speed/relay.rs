//! A network between client and server that delays, loses and has little room, since not every kernel has netem: a relay
//! for TFTP, on a thread in a namespace.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use meadow_rack::namespace::Namespace;
use nix::sys::socket::{setsockopt, sockopt};
use rustix::event::{PollFd, PollFlags, poll};

use crate::downloads::TFTP;

/// Room in the relay's own sockets, so that it loses only what it means to.
const RECEIVE_BUFFER: usize = 8 << 20;
/// How often it looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// How bad the network is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// Each way.
    pub(super) delay: Duration,
    /// Of so many packets one is lost, each way; 0 for none.
    pub(super) lost_of: u64,
    /// Packets to the client that may wait in the client's card, and how long it takes for each.
    pub(super) room: Option<(usize, Duration)>,
}

/// A relay to one server, for one client at a time.
#[derive(Debug)]
pub(super) struct Relay {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Relay {
    /// Listens at `own`, on the port of TFTP, and passes on to `server`.
    pub(super) fn start(namespace: &Namespace, own: Ipv4Addr, server: Ipv4Addr, weather: Weather) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (inside, stopped) = (namespace.clone(), stop.clone());
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            inside.enter()?;
            let mut route = Route::open(own, server, weather)?;
            // Nobody waits any more when the rack is taken down.
            let _ = ready.send(());
            route.pass_on(&stopped)
        });
        let mut relay = Self { stop, thread: Some(thread) };
        match is_ready.recv() {
            Ok(()) => Ok(relay),
            Err(_) => relay.end().and_then(|()| bail!("the relay ended at once")),
        }
    }

    fn end(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take() {
            Some(thread) => thread.join().unwrap_or_else(|_| bail!("the relay panicked")),
            None => Ok(()),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("the relay: {error:#}");
        }
    }
}

/// Both directions.
struct Route {
    own: Ipv4Addr,
    front: UdpSocket,
    back: UdpSocket,
    client: Option<SocketAddr>,
    server: SocketAddr,
    asked: SocketAddr,
    weather: Weather,
    /// Packets under way, with the time of their arrival; in order, since all take equally long.
    to_client: VecDeque<(Instant, Vec<u8>)>,
    to_server: VecDeque<(Instant, Vec<u8>)>,
    /// When the client's card will have taken all that waits in it.
    card_free: Instant,
    chance: u64,
}

impl Route {
    fn open(own: Ipv4Addr, server: Ipv4Addr, weather: Weather) -> Result<Self> {
        let front = with_room(UdpSocket::bind((own, TFTP)).context("the relay's port is taken")?)?;
        let back = with_room(UdpSocket::bind((own, 0))?)?;
        let server = SocketAddr::from((server, TFTP));
        Ok(Self {
            own,
            front,
            back,
            client: None,
            server,
            asked: server,
            weather,
            to_client: VecDeque::new(),
            to_server: VecDeque::new(),
            card_free: Instant::now(),
            chance: 0x2545_f491_4f6c_dd1d,
        })
    }

    fn pass_on(&mut self, stopped: &AtomicBool) -> Result<()> {
        let mut buffer = [0; 2048];
        while !stopped.load(Ordering::Relaxed) {
            self.take(&mut buffer)?;
            self.deliver();
            let next = [self.to_client.front(), self.to_server.front()].into_iter().flatten().map(|(at, _)| *at).min();
            let wait = next.map_or(LOOK, |at| at.saturating_duration_since(Instant::now()));
            let mut sockets = [&self.front, &self.back].map(|socket| PollFd::new(socket, PollFlags::IN));
            poll(&mut sockets, Some(&wait.try_into()?))?;
        }
        Ok(())
    }

    /// Takes what has come.
    fn take(&mut self, buffer: &mut [u8]) -> Result<()> {
        while let Ok((length, from)) = self.front.recv_from(buffer) {
            if self.client != Some(from) {
                // The next transfer: the server answers from a port that is not known yet, and what it still sends for
                // the last one is not heard.
                (self.client, self.server) = (Some(from), self.asked);
                self.back = with_room(UdpSocket::bind((self.own, 0))?)?;
                self.to_client.clear();
                self.to_server.clear();
            }
            if !self.is_lost() {
                let packet = buffer.get(..length).unwrap_or_default().to_vec();
                self.to_server.push_back((Instant::now() + self.weather.delay, packet));
            }
        }
        while let Ok((length, from)) = self.back.recv_from(buffer) {
            self.server = from;
            if self.is_lost() {
                continue;
            }
            let mut arrival = Instant::now() + self.weather.delay;
            if let Some((room, each)) = self.weather.room {
                let waiting = self.card_free.saturating_duration_since(arrival);
                if waiting > each * u32::try_from(room).unwrap_or(u32::MAX) {
                    continue;
                }
                self.card_free = self.card_free.max(arrival) + each;
                arrival = self.card_free;
            }
            self.to_client.push_back((arrival, buffer.get(..length).unwrap_or_default().to_vec()));
        }
        Ok(())
    }

    /// Hands over what is due. What cannot be sent is lost, as on any network.
    fn deliver(&mut self) {
        let now = Instant::now();
        while let Some((_, packet)) = self.to_server.pop_front_if(|(at, _)| *at <= now) {
            let _ = self.back.send_to(&packet, self.server);
        }
        while let Some((_, packet)) = self.to_client.pop_front_if(|(at, _)| *at <= now) {
            if let Some(client) = self.client {
                let _ = self.front.send_to(&packet, client);
            }
        }
    }

    /// The same packets are lost in each run (xorshift64).
    fn is_lost(&mut self) -> bool {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.weather.lost_of > 0 && self.chance.is_multiple_of(self.weather.lost_of)
    }
}

fn with_room(socket: UdpSocket) -> Result<UdpSocket> {
    socket.set_nonblocking(true)?;
    setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
    Ok(socket)
}
