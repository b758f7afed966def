//! Somebody in the middle: an SSH server up to the moment at which its client trusts it or goes (RFC 4253, RFC 8731). It shows
//! whatever public key it likes, such as the node's to whoever only asks for it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use meadow_rack::namespace::Namespace;
use meadow_tests_it::PATIENCE;
use sha2::{Digest, Sha256};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::host_key::{HostKey, string};

const VERSION: &str = "SSH-2.0-middle";
const DISCONNECT: u8 = 1;
const KEXINIT: u8 = 20;
const NEWKEYS: u8 = 21;
const ECDH_INIT: u8 = 30;
const ECDH_REPLY: u8 = 31;

/// What a client did once it had seen the host key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It goes on, and sends what it has next: its user's secrets.
    Trusts,
    /// It goes, or never wanted such a key.
    Leaves,
}

/// A server for as many clients as it has keys to show.
#[derive(Debug)]
pub(crate) struct Middle(Receiver<Result<End>>);

impl Middle {
    /// Waits at `address` of the namespace for clients, and shows them these keys, one after the other.
    pub(crate) fn start(namespace: &Namespace, address: SocketAddr, keys: Vec<HostKey>) -> Result<Self> {
        // Only a thread of its own can be in another namespace than the test.
        let listener = thread::scope(|scope| {
            let bound = scope.spawn(|| {
                namespace.enter()?;
                TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))
            });
            bound.join().map_err(|_| anyhow!("whoever listened panicked"))?
        })?;
        let (sender, receiver) = channel();
        thread::spawn(move || {
            for key in keys {
                let end = listener.accept().context("nobody comes").and_then(|(client, _)| serve(client, &key));
                if sender.send(end).is_err() {
                    return;
                }
            }
        });
        Ok(Self(receiver))
    }

    /// What the next client did.
    pub(crate) fn next(&self) -> Result<End> {
        self.0.recv_timeout(PATIENCE).context("no client came")?
    }
}

fn serve(client: TcpStream, key: &HostKey) -> Result<End> {
    client.set_read_timeout(Some(PATIENCE))?;
    let mut server = Server { writes: client.try_clone()?, reads: BufReader::new(client) };
    write!(server.writes, "{VERSION}\r\n")?;
    let mut version = String::new();
    server.reads.read_line(&mut version)?;
    let ours = kexinit(key);
    server.send(&ours)?;
    let Some(theirs) = server.receive(KEXINIT)? else { return Ok(End::Leaves) };
    let Some(begin) = server.receive(ECDH_INIT)? else { return Ok(End::Leaves) };
    let shared: [u8; 32] = begin.get(5..).and_then(|point| point.try_into().ok()).context("no point of Curve25519")?;
    let secret = StaticSecret::from([7; 32]);
    let point = PublicKey::from(&secret);
    let agreed = secret.diffie_hellman(&PublicKey::from(shared));

    let mut hash = Sha256::new();
    let parts: [&[u8]; 7] =
        [version.trim_end().as_bytes(), VERSION.as_bytes(), &theirs, &ours, &key.blob, &shared, point.as_bytes()];
    parts.into_iter().for_each(|part| hash.update(string(part)));
    hash.update(string(&positive(agreed.as_bytes())));
    let signature = [string(b"ssh-ed25519"), string(&key.sign(&hash.finalize())?)].concat();
    server.send(&[vec![ECDH_REPLY], string(&key.blob), string(point.as_bytes()), string(&signature)].concat())?;
    Ok(if server.receive(NEWKEYS)?.is_some() { End::Trusts } else { End::Leaves })
}

/// What is offered: the one kind of host key, and of all else one that every client has.
fn kexinit(key: &HostKey) -> Vec<u8> {
    let lists = ["curve25519-sha256", key.algorithm, "aes128-ctr", "aes128-ctr", "hmac-sha2-256", "hmac-sha2-256"];
    let lists = lists.into_iter().chain(["none", "none", "", ""]);
    let cookie = vec![7; 16];
    // No guess follows; and four bytes that are reserved.
    [vec![KEXINIT], cookie, lists.flat_map(|list| string(list.as_bytes())).collect(), vec![0; 5]].concat()
}

/// The number of these digits (base 256) as an `mpint`, which has no zeros in front unless it were negative without.
fn positive(digits: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = digits.iter().copied().skip_while(|digit| *digit == 0).collect();
    if digits.first().is_some_and(|first| *first >= 0x80) { [vec![0], digits].concat() } else { digits }
}

struct Server {
    reads: BufReader<TcpStream>,
    writes: TcpStream,
}

impl Server {
    fn send(&mut self, payload: &[u8]) -> Result<()> {
        let padding = 4 + (8 - (payload.len() + 5 + 4) % 8) % 8;
        let length = u32::try_from(1 + payload.len() + padding)?;
        let packet = [&length.to_be_bytes()[..], &[u8::try_from(padding)?], payload, &vec![0; padding]].concat();
        // Who has gone already is seen when something is read.
        let _ = self.writes.write_all(&packet);
        Ok(())
    }

    /// The next packet, which has to be of that kind; `None` where the client goes.
    fn receive(&mut self, kind: u8) -> Result<Option<Vec<u8>>> {
        let mut head = [0; 5];
        if self.reads.read_exact(&mut head).is_err() {
            return Ok(None);
        }
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let mut rest = vec![0; usize::try_from(length)?.checked_sub(1).context("an empty packet")?];
        self.reads.read_exact(&mut rest)?;
        rest.truncate(rest.len().saturating_sub(head[4].into()));
        let got = rest.first().copied();
        ensure!(got == Some(kind) || got == Some(DISCONNECT), "a packet of kind {got:?} in place of {kind}");
        Ok((got == Some(kind)).then_some(rest))
    }
}
