//! One connection: reads requests, has them answered, writes the answers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use meadow_model::MacAddress;
use meadow_netboot::EventKind;
use meadow_netboot::event::Transport;
use meadow_netboot::http::{HeadError, MAX_HEAD, Method, Parsed, RequestHead, ResponseHead};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::body::{STALL, send_file, send_head};
use super::response::{Body, MAX_PROGRESS, Responder, Response};
use crate::restraint::Trouble;
use crate::segment::Segment;

/// How long a connection may wait for its next request, and how long when others need its place.
const IDLE: Duration = Duration::from_secs(60);
const IDLE_CROWDED: Duration = Duration::from_secs(5);

/// How long a request may take from its first byte to the end of its body.
const REQUEST: Duration = Duration::from_secs(15);

/// Files above this size are reported in quarters while they are sent.
const REPORT_ABOVE: u64 = 4 << 20;

pub(super) struct Connection {
    segment: Arc<Segment>,
    stream: TcpStream,
    local: SocketAddr,
    client: IpAddr,
    mac: Option<MacAddress>,
    received: Vec<u8>,
}

impl Connection {
    pub(super) fn new(segment: Arc<Segment>, stream: TcpStream, local: SocketAddr, client: IpAddr) -> Self {
        Self { segment, stream, local, client, mac: None, received: Vec::new() }
    }

    /// Answers requests until the client closes, is silent or sends what is no request.
    pub(super) async fn run(mut self) -> io::Result<()> {
        loop {
            let head = match self.read_head().await? {
                Some(Ok(head)) => head,
                Some(Err(error)) => {
                    return self
                        .refuse(ResponseHead::new(error.status(), "text/plain; charset=utf-8", 0), &error.to_string())
                        .await;
                }
                None => return Ok(()),
            };
            if head.content_length > MAX_PROGRESS as u64 {
                let text = format!("bodies here are at most {MAX_PROGRESS} bytes");
                return self.refuse(ResponseHead::new(413, "text/plain; charset=utf-8", 0), &text).await;
            }
            let body = self.read_body(&head).await?;
            // Looked up once: that costs as much as sending a small file.
            self.mac = self.mac.or_else(|| self.segment.mac_of(self.client));
            let mac = self.mac;
            let responder = Responder { shared: &self.segment.shared, local: self.local, client: self.client, mac };
            let mut response = responder.respond(&head, &body);
            response.head.date = Some(date());
            let counting = &self.segment.shared.counting;
            counting.http_requests.add(1);
            match response.head.status {
                404 => counting.http_missing.add(1),
                400 | 405 => counting.http_malformed.add(1),
                _ => {}
            }
            self.write(response, &head, mac).await?;
            if !head.keep_alive {
                return self.stream.shutdown().await;
            }
        }
    }

    /// Reads until a head is complete. `None` when the client closed or was silent between requests.
    async fn read_head(&mut self) -> io::Result<Option<Result<RequestHead, HeadError>>> {
        let idle = if self.segment.shared.crowd.is_crowded() { IDLE_CROWDED } else { IDLE };
        let mut deadline = Instant::now() + idle;
        if !self.received.is_empty() {
            deadline = Instant::now() + REQUEST;
        }
        loop {
            match RequestHead::parse(&self.received) {
                Ok(Parsed::Complete(head, length)) => {
                    self.received.drain(..length);
                    return Ok(Some(Ok(head)));
                }
                Ok(Parsed::Incomplete) => {}
                Err(error) => return Ok(Some(Err(error))),
            }
            let was_empty = self.received.is_empty();
            match tokio::time::timeout_at(deadline, self.read_more()).await {
                Ok(Ok(0)) => return Ok(None),
                Ok(Ok(_)) if was_empty => deadline = Instant::now() + REQUEST,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    if !was_empty {
                        self.say_slow();
                    }
                    return Ok(None);
                }
            }
        }
    }

    async fn read_more(&mut self) -> io::Result<usize> {
        let room = (MAX_HEAD + MAX_PROGRESS).saturating_sub(self.received.len());
        (&mut self.stream).take(room as u64).read_buf(&mut self.received).await
    }

    async fn read_body(&mut self, head: &RequestHead) -> io::Result<Vec<u8>> {
        let length = usize::try_from(head.content_length).map_err(|_| io::ErrorKind::InvalidData)?;
        if head.expects_continue && self.received.len() < length {
            self.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let deadline = Instant::now() + REQUEST;
        while self.received.len() < length {
            match tokio::time::timeout_at(deadline, self.read_more()).await {
                Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(_) => {
                    self.say_slow();
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Ok(read) => read?,
            };
        }
        Ok(self.received.drain(..length).collect())
    }

    fn say_slow(&self) {
        self.segment.shared.counting.http_slow.add(1);
        self.segment.shared.complain(Trouble::Http, Some(self.client), || {
            format!("an HTTP request was not complete after {} s, its connection was closed", REQUEST.as_secs())
        });
    }

    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(STALL, self.stream.write_all(bytes)).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    async fn refuse(mut self, mut head: ResponseHead, text: &str) -> io::Result<()> {
        let shared = &self.segment.shared;
        shared.counting.http_malformed.add(1);
        shared.complain(Trouble::Http, Some(self.client), || {
            format!("an HTTP request was refused with {}: {text}", head.status)
        });
        let body = format!("{text}\n");
        head.date = Some(date());
        head.content_length = body.len() as u64;
        head.keep_alive = false;
        let mut bytes = head.encode();
        bytes.extend_from_slice(body.as_bytes());
        self.write_all(&bytes).await?;
        self.stream.shutdown().await
    }

    async fn write(&mut self, response: Response, request: &RequestHead, mac: Option<MacAddress>) -> io::Result<()> {
        let mut bytes = response.head.encode();
        match response.body {
            _ if request.method == Method::Head => self.write_all(&bytes).await,
            Body::Bytes(body) => {
                bytes.extend_from_slice(&body);
                self.write_all(&bytes).await
            }
            Body::File(artifact, range) => {
                if range.length == 0 {
                    return self.write_all(&bytes).await;
                }
                send_head(&self.stream, &bytes).await?;
                let name = artifact.name.clone();
                let mut reported = percent(range.start, artifact.size);
                let (shared, mut counted) = (self.segment.shared.clone(), 0);
                let mut report = |sent: u64| {
                    shared.counting.http_bytes.add(sent - counted);
                    counted = sent;
                    let percent = percent(range.start + sent, artifact.size);
                    let is_step = artifact.size > REPORT_ABOVE && percent / 25 > reported / 25;
                    if percent == 100 || is_step {
                        reported = percent;
                        let event = EventKind::Sent { file: name.clone(), percent, via: Transport::Http };
                        self.segment.shared.record_for(mac, self.client, event);
                    }
                };
                let result = send_file(&self.stream, &artifact.file, range, &mut report).await;
                if let Err(error) = &result {
                    self.segment.shared.counting.http_failed.add(1);
                    if error.kind() == io::ErrorKind::TimedOut {
                        self.segment.shared.counting.http_slow.add(1);
                    }
                    let why = format!("the machine stopped receiving at {reported} %: {error}");
                    self.segment.shared.record_for(
                        mac,
                        self.client,
                        EventKind::Failed { file: artifact.name.clone(), why },
                    );
                } else {
                    self.segment.shared.counting.http_files.add(1);
                }
                result
            }
        }
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
