//! What must hold of the DHCP engines over a history of packets, whatever they are.

use std::iter;
use std::net::{Ipv4Addr, SocketAddrV4};

use meadow_model::boot::BootPolicy;
use meadow_netboot::EventKind;
use meadow_netboot::dhcp::{
    LeaseConfig, LeaseServer, MAX_REPLY, OtherServer, ProxyDhcp, Receive, ServerConfig, ServerPort, Transmit,
};
use meadow_netboot::event::{OfferForm, Transport};
use meadow_netboot::progress::BootProgress;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use crate::leases::{Server, configs, mac};
use crate::packets::{Everyone, SERVER, on_67, on_4011};

/// One packet of a history: how and after how many seconds it comes.
struct Step<'a> {
    flags: u8,
    seconds: u8,
    packet: &'a [u8],
}

impl Step<'_> {
    fn receive(&self) -> Receive {
        let source = match self.flags & 6 {
            0 => Ipv4Addr::UNSPECIFIED,
            2 => Ipv4Addr::new(10, 77, 0, 50),
            4 => Ipv4Addr::new(10, 78, 0, 1),
            _ => Ipv4Addr::new(203, 0, 113, 9),
        };
        let rx = if self.flags & 1 == 0 { on_67() } else { on_4011() };
        Receive { source: SocketAddrV4::new(source, rx.source.port()), ..rx }
    }
}

/// Each begins with its flags, its seconds and two bytes of length.
fn steps(mut bytes: &[u8]) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    while let [flags, seconds, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (packet, rest) = rest.split_at(length);
        steps.push(Step { flags: *flags, seconds: *seconds, packet });
        bytes = rest;
    }
    steps
}

/// A reply is one (or one in two forms on the wire), to the client that asked, and goes nowhere but to it, to everybody on the wire or to its relay.
fn check_reply(rx: &Receive, asked: &[u8], reply: &Transmit) -> TestCaseResult {
    for payload in iter::once(&reply.payload).chain(&reply.also) {
        prop_assert!((300..=MAX_REPLY).contains(&payload.len()));
        prop_assert_eq!(payload[0], 2);
        prop_assert_eq!(&payload[4..8], &asked[4..8]);
        prop_assert_eq!(&payload[28..34], &asked[28..34]);
    }
    prop_assert_eq!(reply.source_port, rx.port);
    let to = *reply.destination.ip();
    prop_assert!(reply.also.is_none() || to.is_broadcast(), "two only on the wire itself");
    let giaddr = Ipv4Addr::from(<[u8; 4]>::try_from(&asked[24..28]).expect("four bytes"));
    prop_assert!(to.is_broadcast() || to == *rx.source.ip() || (to == giaddr && reply.destination.port() == 67));
    Ok(())
}

/// A proxy gives out no address and remembers no more machines than asked.
pub fn proxy_history(bytes: &[u8]) -> TestCaseResult {
    let mut engine = ProxyDhcp::new(ServerConfig { http_port: 7480 });
    let (steps, mut now) = (steps(bytes), std::time::Duration::from_secs(1000));
    for step in &steps {
        now += std::time::Duration::from_secs(step.seconds.into());
        let rx = step.receive();
        let policy = if step.flags & 8 == 0 { BootPolicy::Image } else { BootPolicy::LocalDisk };
        let outcome = engine.handle(now, &rx, step.packet, &Everyone::gets(policy));
        prop_assert!(outcome.notes.len() <= 3 && outcome.reply.is_some() != outcome.silence.is_some());
        if let Some(reply) = &outcome.reply {
            check_reply(&rx, step.packet, reply)?;
            prop_assert_eq!(&reply.payload[16..20], &[0; 4][..]);
        }
        if step.flags & 16 != 0 {
            engine.file_requested(now, mac(step.seconds), "ipxe/snponly.efi");
        }
    }
    prop_assert!(engine.machines(now).len() <= steps.len());
    Ok(())
}

/// No address is given to two clients at a time, and what is given is written down.
pub fn lease_history(bytes: &[u8]) -> TestCaseResult {
    let mut server = Server::new(BootPolicy::Image);
    let mut given = std::collections::HashMap::new();
    for step in steps(bytes) {
        server.pass(step.seconds.into());
        let rx = Receive { port: ServerPort::Dhcp, ..step.receive() };
        let outcome = server.handle(&rx, step.packet);
        if let Some(record) = &outcome.record {
            let holder = (record.client.clone(), server.now + record.remaining);
            let before = given.insert(record.address, holder);
            let is_taken = before.is_some_and(|(client, until)| {
                until > server.now && client.is_some() && record.client.is_some() && client != record.client
            });
            prop_assert!(!is_taken, "{} is given twice", record.address);
        }
        if step.flags & 8 != 0 {
            let address = Ipv4Addr::new(10, 77, 0, step.seconds);
            if let Some(record) = server.leases.found(server.now, address, Some(mac(step.flags))) {
                given.insert(record.address, (record.client, server.now + record.remaining));
            }
        }
        let Some(reply) = outcome.reply else { continue };
        check_reply(&rx, step.packet, &reply)?;
    }
    prop_assert!(server.leases.records(server.now).len() <= 6, "bounded by the pools");
    let restarted = server.restarted();
    prop_assert_eq!(restarted.leases.records(server.now).len(), server.leases.records(server.now).len());
    Ok(())
}

/// Another server is heard only in what says something of leases or boot files.
pub fn other_server(packet: &[u8]) -> TestCaseResult {
    if let Some(other) = OtherServer::parse(packet, SERVER) {
        prop_assert!((other.leases || other.boots) && other.address != SERVER);
    }
    Ok(())
}

/// A name of a subnet, one of a pool and one of an option, in lines: the settings are refused or keep to their bounds.
pub fn lease_settings(bytes: &[u8]) -> TestCaseResult {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n').map(str::to_owned);
    let (subnet, pool) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let option = lines.next().unwrap_or_default();
    let options = option.split_once('=').map(|(code, value)| (code.to_owned(), value.to_owned()));
    let [own, _] = &configs()[..] else { return Ok(()) };
    let config = LeaseConfig {
        subnet,
        pool,
        options: options.into_iter().collect(),
        reservations: vec![],
        lease_seconds: 60 + u32::from(bytes.len() as u16),
        ..own.clone()
    };
    if let Ok(server) = LeaseServer::new(&[config]) {
        prop_assert!(server.records(std::time::Duration::ZERO).is_empty());
    }
    Ok(())
}

/// Whatever happens in whatever order, a boot has a stage, a name for it and at most 100 %.
pub fn boot_progress(bytes: &[u8]) -> TestCaseResult {
    let (file, why) = ("initrd".to_owned(), "why".to_owned());
    let events: Vec<_> = bytes
        .iter()
        .map(|byte| match byte % 9 {
            0 => EventKind::Seen { vendor_class: String::new(), interface: None },
            1 => EventKind::Ignored { why: why.clone() },
            2 => EventKind::Offered { file: file.clone(), form: OfferForm::Direct, attempt: u32::from(*byte) },
            3 => EventKind::Leased { address: SERVER, seconds: 60 },
            4 => EventKind::Asked { file: "boot.ipxe".into(), via: Transport::Http },
            5 => EventKind::Sent { file: file.clone(), percent: byte % 101, via: Transport::Tftp },
            6 => EventKind::Failed { file: file.clone(), why: why.clone() },
            7 => {
                EventKind::Progress { stage: "root-download".into(), percent: Some(byte % 101), message: String::new() }
            }
            _ => EventKind::Conflict { what: why.clone() },
        })
        .collect();
    if let Some(progress) = BootProgress::of(events.iter()) {
        prop_assert!(progress.percent.is_none_or(|percent| percent <= 100) && !progress.stage.name().is_empty());
    }
    Ok(())
}
