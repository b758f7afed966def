//! A port of the host's loopback that leads into a namespace, without a route between the two.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use rustix::net::shutdown;

use crate::namespace::Namespace;

/// Connections at once; more are closed at the door.
const CONNECTIONS: usize = 64;

/// A port that is forwarded until the value is dropped.
#[derive(Debug)]
pub struct Forward {
    listener: Arc<TcpListener>,
    address: SocketAddr,
    accepting: Option<JoinHandle<()>>,
}

impl Forward {
    /// Forwards `127.0.0.1:<port>` to `target` as seen from inside `namespace`.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(namespace: &Namespace, target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port of the loopback is free")?;
        let address = listener.local_addr()?;
        let (listener, namespace) = (Arc::new(listener), namespace.clone());
        let thread = thread::Builder::new().name("forward".to_owned());
        let accepting = thread.spawn({
            let listener = Arc::clone(&listener);
            move || accept(&listener, &namespace, target)
        })?;
        Ok(Self { listener, address, accepting: Some(accepting) })
    }

    /// The port, as programs of the host reach it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        // Linux ends an accept(2) on a socket that is shut down, with EINVAL. Connections go on until their ends close.
        let _ = shutdown(&self.listener, rustix::net::Shutdown::Both);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn accept(listener: &TcpListener, namespace: &Namespace, target: SocketAddr) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return,
            Err(_) => continue,
        };
        if open.load(Ordering::Relaxed) >= CONNECTIONS {
            continue;
        }
        let (open, namespace) = (Arc::clone(&open), namespace.clone());
        open.fetch_add(1, Ordering::Relaxed);
        thread::spawn(move || {
            // Errors close the connection, which is all that a client of a real port would see too.
            let _ = serve(&client, &namespace, target);
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// Connects from a thread that is in the namespace; a socket stays where it was made.
fn serve(client: &TcpStream, namespace: &Namespace, target: SocketAddr) -> Result<()> {
    namespace.enter()?;
    let server = TcpStream::connect(target)?;
    thread::scope(|scope| {
        scope.spawn(|| copy(client, &server));
        copy(&server, client);
    });
    Ok(())
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    // Either side may end at any time; the other one is told.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
