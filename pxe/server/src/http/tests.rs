//! Listeners that share one crowd.

use std::sync::Arc;
use std::time::Duration;

use meadow_model::MacAddress;
use meadow_model::boot::BootOptions;
use meadow_netboot::{BootDecision, Sighting};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Crowd;
use super::crowd::{MAX_CONNECTIONS, Place};
use super::seat::is_eviction;
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
    fn start(crowd: Crowd) -> Self {
        let config = PxeConfig::new(&["lo"], "/none");
        let mut shared = Shared::new(config, Arc::new(Nobody)).expect("good settings");
        shared.crowd = Arc::new(crowd);
        let shared = Arc::new(shared);
        let mut tasks = JoinSet::new();
        let addresses = [1, 2].map(|last| {
            let listener = listen(([127, 0, 0, last], 0).into()).expect("a port");
            let address = listener.local_addr().expect("an address");
            let segment = Arc::new(Segment::new("lo".to_owned(), shared.clone()));
            tasks.spawn(serve(segment, listener, address));
            address
        });
        Self { shared, tasks, addresses }
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

/// Takes all places, each for another address.
async fn fill(crowd: &Arc<Crowd>) -> Vec<Place> {
    let mut places = Vec::new();
    for number in 0..MAX_CONNECTIONS {
        let client = std::net::Ipv4Addr::from(0x0a00_0000 + number as u32);
        places.push(crowd.enter(client.into()).await.expect("a place for each"));
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

/// On one thread, so that whoever was able to answer has done it when another server has answered a later question.
#[tokio::test]
async fn all_listeners_of_a_server_share_its_places() {
    let (server, other) = (Server::start(Crowd::new(Duration::MAX)), Server::start(Crowd::default()));
    let mut places = fill(&server.shared.crowd).await;
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
    end([server, other]).await;
}

#[tokio::test]
async fn where_each_place_is_another_addresses_who_takes_nothing_makes_room() {
    let server = Server::start(Crowd::new(Duration::ZERO));
    let places = fill(&server.shared.crowd).await;
    let mut holders = JoinSet::new();
    for place in places {
        holders.spawn(async move {
            let held = place.unless_evicted(std::future::pending::<std::io::Result<()>>()).await;
            is_eviction(&held.expect_err("nothing ends it"))
        });
    }
    assert!(answer(ask(server.addresses[0]).await).await.starts_with("HTTP/1.1 404"));
    assert_eq!(server.accepted(), 1);
    assert!(matches!(holders.join_next().await, Some(Ok(true))));
    end([server]).await;
}

async fn end(servers: impl IntoIterator<Item = Server>) {
    for mut server in servers {
        server.tasks.shutdown().await;
    }
}
