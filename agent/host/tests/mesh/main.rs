//! WireGuard between two network namespaces of this test's own, with the system's `ping` and `ip`: in the kernel where
//! it has it, else in user space.
//!
//! Needs root. Each node is a thread with a namespace of its own, which is gone with the thread.

mod node;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use meadow_host::Cidr;
use meadow_host::links::Links;
use meadow_host::wireguard::{Backend, DeviceConfig, PeerConfig, PrivateKey, WireGuard, WireGuardError};
use meadow_host::{Entropy, SystemEntropy};
use meadow_model::mesh::{MESH_INTERFACE, WireGuardKey};

use crate::node::Node;

const PORT: u16 = 51820;
const A: &str = "fd00:6d::1";
const B: &str = "fd00:6d::2";

fn config(private_key: &PrivateKey, address: &str, peers: Vec<PeerConfig>) -> DeviceConfig {
    let address = format!("{address}/64").parse().expect("valid");
    DeviceConfig { private_key: private_key.clone(), listen_port: PORT, address, mtu: 1420, peers }
}

fn peer(key: WireGuardKey, address: &str, endpoint: Option<&str>) -> PeerConfig {
    PeerConfig {
        key,
        endpoint: endpoint.map(|ip| SocketAddr::new(ip.parse().expect("valid"), PORT)),
        keepalive: endpoint.map(|_| 5),
        allowed_ips: vec![Cidr::host(address.parse().expect("valid"))],
    }
}

/// Whether `address` answers within this time. An own address that was just added cannot be sent from for a moment, and
/// `ping` ends at once then.
async fn ping(address: &str, deadline_seconds: u64) -> bool {
    let seconds = deadline_seconds.to_string();
    let answered = async {
        loop {
            let mut ping = tokio::process::Command::new("ping");
            if ping
                .args(["-6", "-q", "-c", "1", "-w", &seconds, address])
                .output()
                .await
                .expect("ping is installed")
                .status
                .success()
            {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(deadline_seconds), answered).await.is_ok()
}

/// Applies as often as the agent would: a program that another test starts at this moment may hold a copy of a socket
/// until it has closed it.
async fn apply_until_the_port_is_free(wireguard: &mut dyn WireGuard, config: &DeviceConfig) {
    let applied = async {
        loop {
            match wireguard.apply(config).await {
                Err(WireGuardError::PortTaken(_)) => tokio::time::sleep(Duration::from_millis(20)).await,
                other => return other,
            }
        }
    };
    let applied = tokio::time::timeout(Duration::from_secs(60), applied).await.expect("the port is free in a minute");
    applied.expect("applied");
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("ip is installed");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Time since the last handshake with the only peer, once there was one.
async fn handshake_age(wireguard: &mut dyn WireGuard) -> Duration {
    let wait = async {
        loop {
            let peers = wireguard.status().await.expect("status");
            if let Some(age) = peers.iter().find_map(|peer| peer.last_handshake) {
                return age;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("a handshake within a minute")
}

/// Two nodes on one cable, and their keys.
fn two_nodes() -> (Node, Node, PrivateKey, PrivateKey) {
    let (a, b) = (Node::start("a"), Node::start("b"));
    let (pid_b, cable) = (b.tid(), "link add eth0 type veth peer name eth0 netns");
    a.run(move |_| Box::pin(async move { ip(&format!("{cable} {pid_b}")) }));
    for (node, address) in [(&a, "192.0.2.1/24"), (&b, "192.0.2.2/24")] {
        node.run(move |_| {
            Box::pin(async move {
                ip(&format!("address add {address} dev eth0"));
                ip("link set eth0 up");
            })
        });
    }
    let key = || PrivateKey::generate(&SystemEntropy as &dyn Entropy).expect("entropy");
    (a, b, key(), key())
}

#[test]
fn two_nodes_talk_and_stay_in_step_with_what_is_wanted() {
    let (a, b, key_a, key_b) = two_nodes();
    let to_b = peer(key_b.public_key(), B, Some("192.0.2.2"));
    let to_a = peer(key_a.public_key(), A, None);
    let (config_a, config_b) = (config(&key_a, A, vec![to_b.clone()]), config(&key_b, B, vec![to_a]));

    b.run(move |w| Box::pin(async move { w.apply(&config_b).await.expect("applied on b") }));
    let first = config_a.clone();
    let alone = config(&key_a, A, vec![]);
    let alone_again = alone.clone();
    a.run(move |w| {
        Box::pin(async move {
            // Without peers a device may rest.
            w.apply(&alone).await.expect("applied without peers");
            apply_until_the_port_is_free(w, &first).await;
            // The keepalive alone brings the session up.
            handshake_age(w).await;
            assert!(ping(B, 30).await, "a reaches b");
        })
    });
    b.run(|w| {
        Box::pin(async move {
            let peers = w.status().await.expect("status");
            assert_eq!(peers[0].endpoint, Some("192.0.2.1:51820".parse().expect("valid")), "learnt from the packets");
            assert!(ping(A, 30).await, "b reaches a");
        })
    });

    // Another peer comes and the own one stays: the session goes on. Then the first one is revoked.
    let mut with_third = config_a.clone();
    with_third.peers.push(peer(WireGuardKey([3; 32]), "fd00:6d::3", None));
    let mut without_b = with_third.clone();
    without_b.peers.remove(0);
    let again = config_a.clone();
    a.run(move |w| {
        Box::pin(async move {
            let before = handshake_age(w).await;
            w.apply(&with_third).await.expect("applied");
            w.apply(&with_third).await.expect("applied again");
            assert!(handshake_age(w).await > before, "no new handshake was needed");
            assert_eq!(w.status().await.expect("status").len(), 2);
            assert!(ping(B, 30).await, "b is still reached");

            w.apply(&without_b).await.expect("applied without b");
            assert!(!ping(B, 1).await, "a revoked peer is not reached");
            apply_until_the_port_is_free(w, &alone_again).await;
            apply_until_the_port_is_free(w, &again).await;
            handshake_age(w).await;
            assert!(ping(B, 30).await, "b is reached again");
        })
    });
}

#[test]
fn a_taken_port_is_named_and_tried_again() {
    let (a, _b, key, _) = two_nodes();
    let config = config(&key, A, vec![]);
    a.run(move |w| {
        Box::pin(async move {
            let squatter = std::net::UdpSocket::bind(("::", PORT)).expect("the port is free in this namespace");
            let refused = w.apply(&config).await;
            assert!(matches!(refused, Err(WireGuardError::PortTaken(PORT))), "{refused:?}");
            drop(squatter);
            apply_until_the_port_is_free(w, &config).await;
            std::net::UdpSocket::bind(("::", PORT)).expect_err("now it is ours");
        })
    });
}

#[test]
fn a_removed_interface_comes_back_and_addresses_are_exact() {
    let (a, _b, key, _) = two_nodes();
    let first = config(&key, A, vec![]);
    let mut second = config(&key, "fd00:6d::9", vec![peer(WireGuardKey([3; 32]), "fd00:6d::3", None)]);
    second.peers[0].allowed_ips.push("fd00:beef::/64".parse().expect("valid"));
    a.run(move |w| {
        Box::pin(async move {
            let links = Links::open().expect("netlink");
            w.apply(&first).await.expect("applied");
            ip(&format!("link delete {MESH_INTERFACE}"));
            apply_until_the_port_is_free(w, &first).await;

            w.apply(&second).await.expect("applied with another address");
            let link = links.find(MESH_INTERFACE).await.expect("found");
            let kind = if w.backend() == Backend::Kernel { "wireguard" } else { "tun" };
            assert_eq!((link.up, link.mtu, link.kind.as_deref()), (true, 1420, Some(kind)));
            assert_eq!(link.routable_addresses().collect::<Vec<_>>(), ["fd00:6d::9/64".parse().expect("valid")]);
            assert_eq!(links.routes(&link).await.expect("routes"), ["fd00:beef::/64".parse().expect("valid")]);
            w.apply(&first).await.expect("applied with the first address");
            let link = links.find(MESH_INTERFACE).await.expect("found");
            assert_eq!(links.routes(&link).await.expect("routes"), []);

            w.remove().await.expect("removed");
            assert!(links.find(MESH_INTERFACE).await.is_err(), "the interface is gone");
        })
    });
}

#[test]
fn an_address_is_waited_for() {
    let node = Node::start("waiting");
    node.run(|_| {
        Box::pin(async move {
            ip("link add eth0 type veth peer name eth1");
            let links = Links::open().expect("netlink");
            let nothing = links.wait_for_address(Some("eth0"), Duration::from_millis(1)).await;
            assert!(nothing.is_err(), "{nothing:?}");
            let wait = links.wait_for_address(None, Duration::from_secs(60));
            let add = async {
                tokio::task::yield_now().await;
                ip("address add 192.0.2.7/24 dev eth0");
            };
            let (found, ()) = tokio::join!(wait, add);
            let (link, cidr) = found.expect("an address");
            assert_eq!((link.name.as_str(), cidr), ("eth0", "192.0.2.7/24".parse().expect("valid")));
        })
    });
}

#[test]
fn questions_at_the_same_time_and_dropped_ones_do_not_disturb() {
    let node = Node::start("asking");
    node.run(|w| {
        Box::pin(async move {
            let links = Links::open().expect("netlink");
            let (one, two) = tokio::join!(links.list(), links.list());
            assert_eq!(one.expect("listed"), two.expect("listed"));
            for _ in 0..20 {
                // Polled once, so that the question is under way when it is dropped.
                let _ = tokio::time::timeout(Duration::ZERO, links.list()).await;
                let _ = tokio::time::timeout(Duration::ZERO, w.status()).await;
                links.list().await.expect("listed after a dropped question");
                w.status().await.expect("status after a dropped question");
            }
        })
    });
}
