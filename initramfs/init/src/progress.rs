//! Tells the server how far the boot is (`POST /machine/MAC/progress`).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::http;
use crate::network::Network;

const QUEUE: usize = 64;
/// The server takes 4 KiB; JSON may escape every byte of the text.
const LONGEST_TEXT: usize = 600;
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// One report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Post {
    /// The stage of the boot.
    pub stage: String,
    /// How far the stage is.
    pub percent: Option<u8>,
    /// For a person.
    pub message: String,
}

#[derive(Debug)]
enum Job {
    Post(Post),
    Flush(SyncSender<()>),
}

/// The queue to the server. Reports are news, not state: what the server does not take is lost.
#[derive(Debug)]
pub struct Poster {
    queue: SyncSender<Job>,
}

/// The other end of the queue, until there is a network.
#[derive(Debug)]
pub struct Posts(Receiver<Job>);

impl Poster {
    /// A queue and its other end.
    #[must_use]
    pub fn new() -> (Self, Posts) {
        let (queue, posts) = sync_channel(QUEUE);
        (Self { queue }, Posts(posts))
    }

    /// Queues a report, without ever waiting.
    pub fn send(&self, mut post: Post) {
        truncate(&mut post.message);
        // Full: the network is down or slow, and the boot is more important.
        let _ = self.queue.try_send(Job::Post(post));
    }

    /// Waits, not for ever, until the queue is sent.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.queue.try_send(Job::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

impl Posts {
    /// Sends what comes, from a thread of its own, as soon as there is a server.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn deliver(self, network: Arc<Network>) -> std::io::Result<()> {
        let run = move || {
            for job in self.0 {
                match job {
                    Job::Flush(done) => {
                        let _ = done.try_send(());
                    }
                    Job::Post(post) => deliver(&network, &post),
                }
            }
        };
        thread::Builder::new().name("progress".to_owned()).spawn(run).map(drop)
    }
}

fn deliver(network: &Network, post: &Post) {
    let uplink = network.uplink();
    if let Ok(body) = serde_json::to_vec(post) {
        // The server may be away; the console has the message in any case.
        let _ = http::post(&uplink.route, &uplink.path("progress"), &body);
    }
}

fn truncate(text: &mut String) {
    let end = text.floor_char_boundary(LONGEST_TEXT);
    text.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_report_fits_the_servers_limit() {
        let mut message = "\u{1}é".repeat(2000);
        truncate(&mut message);
        let post = Post { stage: "root-download".to_owned(), percent: Some(100), message };
        assert!(serde_json::to_vec(&post).unwrap().len() <= 4096);
    }

    #[test]
    fn a_full_queue_blocks_nobody() {
        let (poster, _posts) = Poster::new();
        for _ in 0..QUEUE * 2 {
            poster.send(Post { stage: "x".to_owned(), percent: None, message: String::new() });
        }
    }
}
