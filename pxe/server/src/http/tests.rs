//! Listeners that share one crowd.

use std::sync::Arc;

use meadow_model::MacAddress;
use meadow_model::boot::BootOptions;
use meadow_netboot::{BootDecision, Sighting};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::crowd::{MAX_CONNECTIONS, Place};
use super::{listen, serve};
use crate::config::PxeConfig;
use crate::director::{BootEvent, Director};
use crate::segment::Segment;
use crate::shared::Shared;

/// Boots nobody.
struct Nobody;

impl Director for Nobody {
    fn decide(&self, _: &Sighting) -> BootDecision {
        BootDecision::default()
    }

    fn boot_config(&self, _: MacAddress) -> Option<serde_json::Value> {
        None
    }

    fn options(&self, _: MacAddress) -> BootOptions {
        BootOptions::default()
    }

    fn event(&self, _: &BootEvent) {}
}

/// A server with two segments that both are the loopback interface, and a listener on each.
struct Server {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
    addresses: [std::net::SocketAddr; 2],
}

impl Server {
    /// With as many places taken as there are, or with none.
    async fn start(is_full: bool) -> (Self, Vec<Place>) {
        let config = PxeConfig::new(&["lo"], "/none");
        let shared = Arc::new(Shared::new(config, Arc::new(Nobody)).expect("good settings"));
        // Before the listeners run and take one each.
        let places = if is_full { fill(&shared).await } else { Vec::new() };
        let mut tasks = JoinSet::new();
        let addresses = [1, 2].map(|last| {
            let listener = listen(([127, 0, 0, last], 0).into()).expect("a port");
            let address = listener.local_addr().expect("an address");
            let segment = Arc::new(Segment::new("lo".to_owned(), shared.clone()));
            tasks.spawn(serve(segment, listener, address));
            address
        });
        (Self { shared, tasks, addresses }, places)
    }

    /// Asks on each of the two, and waits for no answer.
    async fn ask(&self) -> [TcpStream; 2] {
        let [one, other] = self.addresses;
        [ask(one).await, ask(other).await]
    }

    fn accepted(&self) -> u64 {
        self.shared.counting.read().http_connections
    }
}

async fn fill(shared: &Shared) -> Vec<Place> {
    let mut places = Vec::new();
    for number in 0..MAX_CONNECTIONS {
        let client = std::net::Ipv4Addr::from(0x0a00_0000 + number as u32);
        let free = shared.crowd.free_place().await.expect("a place");
        places.push(shared.crowd.take(free, client.into()).expect("a place for each"));
    }
    places
}

async fn ask(address: std::net::SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.expect("asked");
    stream
}

async fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    text
}

/// On one thread, so that whoever was able to accept has done it when another server has answered a later question.
#[tokio::test]
async fn all_listeners_of_a_server_share_its_places() {
    let ((server, mut places), (other, _)) = (Server::start(true).await, Server::start(false).await);
    let [first, second] = server.ask().await;
    for stream in other.ask().await {
        assert!(answer(stream).await.starts_with("HTTP/1.1 404"), "a server of its own");
    }
    assert_eq!((server.accepted(), other.accepted()), (0, 2));
    places.truncate(MAX_CONNECTIONS - 2);
    for stream in [first, second] {
        assert!(answer(stream).await.starts_with("HTTP/1.1 404"));
    }
    assert_eq!(server.accepted(), 2);
    let mut tasks = [server.tasks, other.tasks];
    for tasks in &mut tasks {
        tasks.shutdown().await;
    }
}
