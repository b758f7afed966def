//! One connection: reads requests, has them answered, writes the answers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use meadow_model::MacAddress;
use meadow_netboot::EventKind;
use meadow_netboot::event::{Transport, printable};
use meadow_netboot::http::{ByteRange, Conversation, Method, Refusal, RequestHead, ResponseHead, Step};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::body::{STALL, send_file, send_head};
use super::crowd::{MAX_CONNECTIONS, Place};
use super::response::{Body, Responder, Response};
use super::seat::is_eviction;
use crate::artifacts::Artifact;
use crate::restraint::Trouble;
use crate::segment::Segment;
use crate::tftp::OPTIONAL_SCRIPT;

/// Received at once: more than most requests have.
const RECEIVED: usize = 4096;

/// Characters of a path that are said.
const SAID: usize = 200;

/// Files above this size are reported in quarters while they are sent.
const REPORT_ABOVE: u64 = 4 << 20;

pub(super) struct Connection {
    segment: Arc<Segment>,
    stream: TcpStream,
    local: SocketAddr,
    client: IpAddr,
    mac: Option<MacAddress>,
    place: Place,
}

impl Connection {
    pub(super) fn new(segment: Arc<Segment>, stream: TcpStream, local: SocketAddr, place: Place) -> Self {
        Self { segment, stream, local, client: place.client, mac: None, place }
    }

    /// Answers requests until the client closes, is silent, sends what is no request or has to make room.
    pub(super) async fn run(mut self) -> io::Result<()> {
        let result = self.converse().await;
        if let Err(error) = &result {
            if is_eviction(error) {
                self.say_evicted();
            }
            // The kernel would keep what it has for a client that does not take it. Where it does, all else is done.
            let _ = self.stream.set_zero_linger();
        }
        result
    }

    async fn converse(&mut self) -> io::Result<()> {
        let mut conversation = Conversation::new(self.now(), self.is_crowded());
        loop {
            match conversation.step() {
                Step::Receive => self.receive(&mut conversation).await?,
                Step::Continue => self.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?,
                Step::Answer(head, body) => {
                    self.answer(&head, &body).await?;
                    conversation.answered(self.now(), self.is_crowded());
                }
                Step::Refuse(refusal) => self.refuse(refusal).await?,
                Step::Close => return self.stream.shutdown().await,
                Step::CloseSlow => {
                    self.say_slow();
                    return self.stream.shutdown().await;
                }
            }
        }
    }

    fn now(&self) -> Duration {
        self.segment.shared.now()
    }

    fn is_crowded(&self) -> bool {
        self.segment.shared.crowd.is_crowded()
    }

    /// Waits for what the client sends, until the conversation's deadline.
    async fn receive(&self, conversation: &mut Conversation) -> io::Result<()> {
        let left = conversation.deadline().saturating_sub(self.now());
        if let Ok(readable) = timeout(left, self.place.unless_evicted(self.stream.readable())).await {
            readable?;
            // Held for the call only: hundreds of connections wait.
            let mut buffer = [0; RECEIVED];
            let room = conversation.room().min(RECEIVED);
            match self.stream.try_read(&mut buffer[..room]) {
                Ok(length) => conversation.receive(self.now(), &buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        conversation.on_deadline(self.now());
        Ok(())
    }

    async fn answer(&mut self, head: &RequestHead, body: &[u8]) -> io::Result<()> {
        // Looked up once: that costs as much as sending a small file.
        self.mac = self.mac.or_else(|| self.segment.mac_of(self.client));
        let (local, client, mac) = (self.local, self.client, self.mac);
        let responder = Responder { shared: &self.segment.shared, local, client, mac };
        let mut response = responder.respond(head, body);
        response.head.date = Some(date());
        let counting = &self.segment.shared.counting;
        counting.http_requests.add(1);
        match response.head.status {
            404 => counting.http_missing.add(1),
            400 | 405 => counting.http_malformed.add(1),
            _ => {}
        }
        if matches!(response.head.status, 400 | 404 | 405) && !response.is_told {
            self.say_odd(head, response.head.status);
        }
        self.write(response, head).await
    }

    /// Says what was asked in vain, as far as a log can take it.
    fn say_odd(&self, head: &RequestHead, status: u16) {
        if head.path.ends_with(OPTIONAL_SCRIPT) {
            return;
        }
        self.segment.shared.complain(Trouble::Request, Some(self.client), || {
            let path = printable(head.path.as_bytes(), SAID);
            let rest = if head.path.len() > SAID { "…" } else { "" };
            format!("an HTTP request was answered with {status}: {} {path}{rest}", head.method)
        });
    }

    fn say_slow(&self) {
        self.segment.shared.counting.http_slow.add(1);
        self.segment.shared.complain(Trouble::Http, Some(self.client), || {
            "an HTTP request was not complete in time, its connection was closed".to_owned()
        });
    }

    /// Only a newcomer that finds all places taken leads to this.
    fn say_evicted(&self) {
        self.segment.shared.counting.http_evicted.add(1);
        // As the server's own event: those of addresses are withheld while so many ask.
        self.segment.shared.complain(Trouble::Places, None, || {
            format!(
                "all {MAX_CONNECTIONS} places for HTTP connections are taken; a slow one of {} was closed for a newcomer",
                self.client
            )
        });
    }

    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.place.unless_evicted(self.stream.write_all(bytes));
        timeout(STALL, written).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    async fn refuse(&mut self, refusal: Refusal) -> io::Result<()> {
        let shared = &self.segment.shared;
        shared.counting.http_malformed.add(1);
        shared.complain(Trouble::Http, Some(self.client), || {
            format!("an HTTP request was refused with {}: {refusal}", refusal.status())
        });
        let body = format!("{refusal}\n");
        let mut head = ResponseHead::new(refusal.status(), "text/plain; charset=utf-8", body.len() as u64);
        head.date = Some(date());
        head.keep_alive = false;
        let mut bytes = head.encode();
        bytes.extend_from_slice(body.as_bytes());
        self.write_all(&bytes).await
    }

    async fn write(&mut self, response: Response, request: &RequestHead) -> io::Result<()> {
        let mut bytes = response.head.encode();
        match response.body {
            _ if request.method == Method::Head => self.write_all(&bytes).await,
            Body::Bytes(body) => {
                bytes.extend_from_slice(&body);
                self.write_all(&bytes).await
            }
            Body::File(_, range) if range.length == 0 => self.write_all(&bytes).await,
            Body::File(artifact, range) => {
                self.place.unless_evicted(send_head(&self.stream, &bytes)).await?;
                self.send(&artifact, range).await
            }
        }
    }

    /// Sends a part of a file, and says how far it came.
    async fn send(&self, artifact: &Arc<Artifact>, range: ByteRange) -> io::Result<()> {
        let shared = &self.segment.shared;
        let mut reported = percent(range.start, artifact.size);
        let mut counted = 0;
        let mut report = |sent: u64| {
            shared.counting.http_bytes.add(sent - counted);
            counted = sent;
            let percent = percent(range.start + sent, artifact.size);
            let is_step = artifact.size > REPORT_ABOVE && percent / 25 > reported / 25;
            if percent == 100 || is_step {
                reported = percent;
                let event = EventKind::Sent { file: artifact.name.clone(), percent, via: Transport::Http };
                shared.record_for(self.mac, self.client, event);
            }
        };
        let sending = send_file(&self.stream, artifact, range, &shared.page_cache, &self.place, &mut report);
        let result = self.place.unless_evicted(sending).await;
        match &result {
            Ok(()) => shared.counting.http_files.add(1),
            Err(error) => self.say_failed(artifact, reported, error),
        }
        result
    }

    fn say_failed(&self, artifact: &Artifact, reported: u8, error: &io::Error) {
        let shared = &self.segment.shared;
        shared.counting.http_failed.add(1);
        if error.kind() == io::ErrorKind::TimedOut {
            shared.counting.http_slow.add(1);
        }
        let why = match is_eviction(error) {
            // As many as come: they are said in one line for all.
            true if self.mac.is_none() => return,
            true => format!("its connection was closed at {reported} %: {error}"),
            false => format!("the machine stopped receiving at {reported} %: {error}"),
        };
        let event = EventKind::Failed { file: artifact.name.clone(), why };
        shared.record_for(self.mac, self.client, event);
    }
}

/// The time, as HTTP writes it (RFC 9110, 5.6.7).
fn date() -> String {
    let now = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now());
    // Only years that HTTP cannot write have none.
    now.unwrap_or_default()
}

fn percent(bytes: u64, size: u64) -> u8 {
    // 0 ≤ bytes ≤ size, so that the quotient fits.
    (u128::from(bytes) * 100).checked_div(u128::from(size)).map_or(100, |percent| percent as u8)
}
