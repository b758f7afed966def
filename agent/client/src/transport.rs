//! Requests: which connection they take, how long they may take, what comes back.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, IF_MATCH};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use meadow_model::Problem;
use meadow_pki::{CaPin, Identity};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio_rustls::rustls::{self, CertificateError, ClientConfig};

use crate::connection::{Connection, SendError};
use crate::{ClientError, Context, Endpoint, MAX_RESPONSE};

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection to one address, and once more for TLS on it. Where no other address is left to try, TLS gets the time
    /// of an answer: the computer is there, and busy.
    pub connect: Duration,
    /// For a whole answer, from the moment that it was asked.
    pub answer: Duration,
}

/// What writes and reads back an image, or discards a disk, is done by then.
const PATIENCE: Duration = Duration::from_secs(3600);

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(4), answer: Duration::from_secs(30) }
    }
}

enum Target {
    Tls { endpoints: Vec<Endpoint>, config: Arc<ClientConfig> },
    Unix(PathBuf),
}

/// A client of one cluster, or of the agent on this computer. Keeps its connection open between requests.
pub struct Client {
    target: Target,
    timeouts: Timeouts,
    /// The open connection and where it goes.
    open: Mutex<Option<(Connection, String)>>,
}

/// A request, ready to be sent as often as needed.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) if_match: Option<u64>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) body: Option<Bytes>,
    content_type: &'static str,
    /// How long the answer may take, where that is another time than for all.
    answer: Option<Duration>,
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) from: String,
    pub(crate) body: Bytes,
}

impl Client {
    /// A client of the cluster of a context, as its user.
    ///
    /// # Errors
    /// Where the context's addresses, certificate or key cannot be used.
    pub fn of_context(context: &Context) -> Result<Self, ClientError> {
        let identity = Identity::with_chain(context.key_pem.expose(), &context.certificate_pem)?;
        Self::tls(&context.api, CaPin(context.ca_fingerprint), Some(&identity))
    }

    /// A client of the cluster with this CA at these addresses, as `identity`.
    ///
    /// # Errors
    /// Where an address or the identity cannot be used.
    pub fn tls(api: &[String], ca: CaPin, identity: Option<&Identity>) -> Result<Self, ClientError> {
        let endpoints = api.iter().map(|text| text.parse()).collect::<Result<Vec<Endpoint>, _>>()?;
        let config = meadow_pki::client_config(&ca, identity)?;
        Ok(Self::new(Target::Tls { endpoints, config }))
    }

    /// A client of the agent on this computer.
    #[must_use]
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::new(Target::Unix(path.into()))
    }

    fn new(target: Target) -> Self {
        Self { target, timeouts: Timeouts::default(), open: Mutex::new(None) }
    }

    /// The same client with other timeouts.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Passes somebody else's request on, as this client's identity; the status and body of the answer.
    ///
    /// # Errors
    /// [`ClientError`] where there is no answer. One that says no is none.
    pub async fn pass_on(&self, request: Request<Bytes>) -> Result<(StatusCode, Bytes), ClientError> {
        let (head, body) = request.into_parts();
        let mut call = Call::new(head.method, head.uri.path());
        let key = head.headers.get("idempotency-key").and_then(|key| key.to_str().ok());
        call.idempotency_key = key.map(str::to_owned);
        call.body = (!body.is_empty()).then_some(body);
        let reply = self.exchange(call).await?;
        Ok((reply.status, reply.body))
    }

    /// Sends `call` and reads the answer as `T`.
    pub(crate) async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, ClientError> {
        let reply = self.exchange(call).await?;
        if !reply.status.is_success() {
            return Err(refusal(&reply));
        }
        reply.parse()
    }

    /// Sends `call`, whose answer has no body.
    pub(crate) async fn call_empty(&self, call: Call) -> Result<(), ClientError> {
        let reply = self.exchange(call).await?;
        if reply.status.is_success() { Ok(()) } else { Err(refusal(&reply)) }
    }

    /// Sends `call` and returns whatever came back.
    pub(crate) async fn exchange(&self, call: Call) -> Result<Reply, ClientError> {
        let (mut tried, mut strangers) = (Vec::new(), Vec::new());
        let mut open = self.open.lock().await;
        if let Some((mut connection, place)) = open.take() {
            match self.attempt(&mut connection, &call, &place).await {
                Ok(reply) => {
                    *open = Some((connection, place));
                    return Ok(reply);
                }
                Err(Attempt::Final(error)) => return Err(error),
                // The server closed it while it was idle: that is no news of the server itself.
                Err(Attempt::Again(_)) => {}
            }
        }
        for place in self.places() {
            let mut connection = match self.connect(place).await {
                Ok(connection) => connection,
                Err(error) if is_of_another_cluster(&error) => {
                    strangers.push(self.describe(place));
                    tried.push(format!("{}: it belongs to another cluster", self.describe(place)));
                    continue;
                }
                Err(error) => {
                    tried.push(format!("{}: {error}", self.describe(place)));
                    continue;
                }
            };
            let place = self.describe(place);
            match self.attempt(&mut connection, &call, &place).await {
                Ok(reply) => {
                    *open = Some((connection, place));
                    return Ok(reply);
                }
                Err(Attempt::Again(why)) => tried.push(format!("{place}: {why}")),
                Err(Attempt::Final(error)) => return Err(error),
            }
        }
        Err(match &self.target {
            Target::Tls { .. } if !strangers.is_empty() && strangers.len() == tried.len() => {
                ClientError::OtherCluster { place: strangers.join(", ") }
            }
            Target::Tls { .. } => ClientError::Unreachable { tried },
            Target::Unix(path) => {
                let why = tried.pop().unwrap_or_default();
                let why = why.split_once(": ").map_or(why.clone(), |(_, why)| why.to_owned());
                ClientError::NoAgent { path: path.clone(), why }
            }
        })
    }

    fn places(&self) -> std::ops::Range<usize> {
        match &self.target {
            Target::Tls { endpoints, .. } => 0..endpoints.len(),
            Target::Unix(_) => 0..1,
        }
    }

    fn describe(&self, place: usize) -> String {
        match &self.target {
            Target::Tls { endpoints, .. } => endpoints.get(place).map(ToString::to_string).unwrap_or_default(),
            Target::Unix(path) => path.display().to_string(),
        }
    }

    async fn connect(&self, place: usize) -> io::Result<Connection> {
        let Timeouts { connect, answer } = self.timeouts;
        match &self.target {
            Target::Tls { endpoints, config } => {
                let endpoint = endpoints.get(place).ok_or_else(|| io::Error::other("no such address"))?;
                let stream = within(connect, Connection::tcp(endpoint)).await?;
                let is_last = place + 1 == endpoints.len();
                within(if is_last { connect.max(answer) } else { connect }, Connection::tls(stream, Arc::clone(config)))
                    .await
            }
            Target::Unix(path) => within(connect, Connection::unix(path)).await,
        }
    }

    async fn attempt(&self, connection: &mut Connection, call: &Call, place: &str) -> Result<Reply, Attempt> {
        let answer = async {
            let request = call.request().map_err(|error| Attempt::Final(protocol(place, error)))?;
            let response = connection.send(request).await.map_err(|error| match error {
                SendError::NotSent => Attempt::Again("the connection was closed".to_owned()),
                SendError::Lost(error) if call.is_repeatable() => Attempt::Again(error.to_string()),
                SendError::Lost(error) => Attempt::Final(protocol(place, error)),
            })?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_RESPONSE).collect().await;
            let body = body.map_err(|error| Attempt::Final(protocol(place, error)))?.to_bytes();
            Ok(Reply { status, from: place.to_owned(), body })
        };
        let limit = call.answer.unwrap_or(self.timeouts.answer);
        tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| {
            let why = format!("no answer in {} s", limit.as_secs());
            Err(if call.is_repeatable() { Attempt::Again(why) } else { Attempt::Final(protocol(place, why)) })
        })
    }
}

/// Gives up after `limit`.
async fn within<T>(limit: Duration, connecting: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {} s", limit.as_secs()));
    tokio::time::timeout(limit, connecting).await.map_err(late)?
}

/// How an attempt failed.
enum Attempt {
    /// Another address may do.
    Again(String),
    /// It may have been carried out, or no address would do better.
    Final(ClientError),
}

/// Whether TLS failed because the pinned CA did not sign what the server showed.
fn is_of_another_cluster(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(tls, Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)))
}

fn protocol(place: &str, error: impl std::fmt::Display) -> ClientError {
    ClientError::Protocol(place.to_owned(), error.to_string())
}

fn refusal(reply: &Reply) -> ClientError {
    match serde_json::from_slice::<Problem>(&reply.body) {
        Ok(problem) => ClientError::Problem(Box::new(problem)),
        Err(_) => protocol(&reply.from, format!("status {}", reply.status)),
    }
}

impl Reply {
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| protocol(&self.from, error))
    }
}

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        // A key on every POST lets it be sent again after a lost answer without being done twice.
        let idempotency_key = (method == Method::POST).then(random_key).flatten();
        Self {
            method,
            path: path.into(),
            if_match: None,
            idempotency_key,
            body: None,
            content_type: "application/json",
            answer: None,
        }
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| protocol("this computer", error))?;
        self.body = Some(Bytes::from(body));
        Ok(self)
    }

    /// For work on disks, which is done when the answer comes: a stick may be slow.
    pub(crate) fn patient(mut self) -> Self {
        self.answer = Some(PATIENCE);
        self
    }

    /// A body that is no JSON.
    pub(crate) fn octets(mut self, body: Bytes) -> Self {
        self.body = Some(body);
        self.content_type = "application/octet-stream";
        self
    }

    pub(crate) fn if_match(mut self, revision: Option<u64>) -> Self {
        self.if_match = revision;
        self
    }

    fn is_repeatable(&self) -> bool {
        matches!(self.method, Method::GET | Method::PUT) || self.idempotency_key.is_some()
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header(HOST, meadow_pki::SERVER_NAME)
            .header(ACCEPT, "application/json, application/problem+json");
        if let Some(revision) = self.if_match {
            request = request.header(IF_MATCH, format!("\"{revision}\""));
        }
        if let Some(key) = &self.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        if self.body.is_some() {
            request = request.header(CONTENT_TYPE, self.content_type);
        }
        request.body(Full::new(self.body.clone().unwrap_or_default()))
    }
}

fn random_key() -> Option<String> {
    let mut random = [0; 16];
    // Without randomness there is no key, and the request is not repeated.
    getrandom::fill(&mut random).ok()?;
    Some(data_encoding::HEXLOWER.encode(&random))
}
