//! What each request is answered with.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use meadow_model::MacAddress;
use meadow_model::boot::BootPolicy;
use meadow_netboot::arch::X86_64;
use meadow_netboot::dhcp::Policy;
use meadow_netboot::event::{Transport, printable};
use meadow_netboot::http::{ByteRange, Method, RequestHead, ResponseHead, content_type};
use meadow_netboot::route::{ROOT, Route};
use meadow_netboot::{BootImage, ClientKind, EventKind, Sighting, script};
use serde::Deserialize;

use super::own_file;
use crate::artifacts::{Artifact, ArtifactStore, Lookup};
use crate::shared::Shared;

const TEXT: &str = "text/plain; charset=utf-8";

pub(super) enum Body {
    Bytes(Vec<u8>),
    File(Arc<Artifact>, ByteRange),
}

pub(super) struct Response {
    pub(super) head: ResponseHead,
    pub(super) body: Body,
    /// Whether an event of its own says why; else a request that cannot be served is one of many that is said at times.
    pub(super) is_told: bool,
}

impl Response {
    fn bytes(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let head = ResponseHead::new(status, content_type, body.len() as u64);
        Self { head, body: Body::Bytes(body), is_told: false }
    }

    fn text(status: u16, text: &str) -> Self {
        Self::bytes(status, TEXT, format!("{text}\n"))
    }

    /// What is not there, and an event has said why.
    fn told(text: &str) -> Self {
        Self { is_told: true, ..Self::text(404, text) }
    }
}

/// A progress report of the initrd.
#[derive(Debug, Deserialize)]
struct Progress {
    stage: String,
    percent: Option<f64>,
    #[serde(default)]
    message: String,
}

/// Answers the requests of one client.
pub(super) struct Responder<'a> {
    pub(super) shared: &'a Shared,
    /// Where this server is reached, as URLs name it.
    pub(super) local: SocketAddr,
    pub(super) client: IpAddr,
    pub(super) mac: Option<MacAddress>,
}

impl Responder<'_> {
    pub(super) fn respond(&self, request: &RequestHead, body: &[u8]) -> Response {
        let mut response = match (Route::parse(&request.path), request.method) {
            (None, _) => Response::text(404, "there is nothing here; boot files are under /artifacts/"),
            (Some(Route::Progress(mac)), Method::Post) => self.progress(mac, body),
            (Some(Route::Artifact(ROOT)), Method::Get | Method::Head) => self.root(request),
            (Some(Route::Artifact(name)), Method::Get | Method::Head) => {
                self.artifact(&self.shared.artifacts, name, request)
            }
            (Some(Route::Image { digest, name }), Method::Get | Method::Head) => self.of_image(digest, name, request),
            (Some(Route::File(name)), Method::Get | Method::Head) => self.own_file(name, request),
            (Some(Route::Script(mac)), Method::Get | Method::Head) => self.script(mac, request.method),
            (Some(Route::BootConfig(mac)), Method::Get | Method::Head) => self.boot_config(mac, request.method),
            (Some(route), _) => not_served(&route),
        };
        response.head.keep_alive = request.keep_alive;
        response
    }

    /// The root that is named by `If-Match`, of whichever open image it is: so an initrd gets the one that belongs to it.
    /// Whoever names none, such as a node that installs itself, gets that of the installed image.
    fn root(&self, request: &RequestHead) -> Response {
        let (shared, installed) = (self.shared, &self.shared.artifacts);
        let tag = request.if_match.as_deref().and_then(strong_tag);
        let tag = tag.filter(|tag| installed.digest_of(ROOT).as_deref() != Some(tag));
        let other = tag.and_then(|tag| shared.images.with_file(ROOT, tag));
        self.artifact(other.as_ref().unwrap_or(installed), ROOT, request)
    }

    fn of_image(&self, digest: &str, name: &str, request: &RequestHead) -> Response {
        match self.shared.images.get(digest) {
            Some(store) => self.artifact(&store, name, request),
            None => Response::text(404, "no machine boots this image; `meadow machine boot` gives it to one"),
        }
    }

    fn artifact(&self, store: &ArtifactStore, name: &str, request: &RequestHead) -> Response {
        let artifact = match store.lookup(name) {
            Lookup::Ready(artifact) => artifact,
            Lookup::Unknown => return Response::text(404, "the image has no such file"),
            Lookup::Unavailable(why) => {
                let mut response = Response::text(503, &why);
                response.head.retry_after = Some(2);
                let event = EventKind::Failed { file: name.to_owned(), why };
                self.shared.record_for(self.mac, self.client, event);
                return response;
            }
        };
        let replaced = "this server has no file with that digest: its image was replaced, restart this machine";
        if let Some(response) = unmet(request, &artifact, replaced) {
            return response;
        }
        let response = file_response(artifact, request);
        if response.head.status != 416 {
            self.note_request(name, request.method);
        }
        response
    }

    fn own_file(&self, name: &str, request: &RequestHead) -> Response {
        let Some(folder) = &self.shared.config.files else {
            return Response::text(404, "no files are served here; set pxe_files in the agent's settings");
        };
        match own_file::open(folder, name) {
            Ok(file) => {
                if let Some(response) = unmet(request, &file, "the file is another one by now; ask for it anew") {
                    return response;
                }
                self.note_request(name, request.method);
                file_response(Arc::new(file), request)
            }
            Err(error) => {
                let event = EventKind::Failed { file: name.to_owned(), why: format!("it cannot be served: {error}") };
                self.shared.record_for(self.mac, self.client, event);
                Response::told("there is no such file")
            }
        }
    }

    fn note_request(&self, name: &str, method: Method) {
        if let Some(mac) = self.mac {
            self.shared.engine().file_requested(self.shared.now(), mac, name);
        }
        if method == Method::Get {
            let event = EventKind::Asked { file: name.to_owned(), via: Transport::Http };
            self.shared.record_for(self.mac, self.client, event);
        }
    }

    fn script(&self, mac: MacAddress, method: Method) -> Response {
        let sighting = self.shared.engine().sighting(mac, ClientKind::Ipxe);
        let config = &self.shared.config;
        let mut given = None;
        let text = match self.shared.director.decide_script(&sighting).policy {
            BootPolicy::Ignore => {
                let why = "nobody named this machine; `meadow pxe open` or `meadow machine arm` lets it boot";
                self.shared.record_for(Some(mac), self.client, EventKind::Ignored { why: why.into() });
                return Response::told(why);
            }
            BootPolicy::LocalDisk => script::boot_local_disk(),
            BootPolicy::Script => match self.shared.director.options(mac).script {
                Some(text) => script::own(self.local, &text),
                None => return Response::text(404, "this machine has no script; `meadow machine boot` gives it one"),
            },
            BootPolicy::Image | BootPolicy::Hold => {
                if let Some(why) = self.misfit(&sighting) {
                    self.shared.record_for(Some(mac), self.client, EventKind::Ignored { why: why.clone() });
                    return Response::told(&why);
                }
                let own = self.shared.director.options(mac).kernel_arguments;
                let command_line = format!("{} {own}", config.command_line);
                let image = self.shared.director.image(mac);
                let text = script::boot_image(self.local, mac, &image, command_line.trim_end());
                given = Some(image);
                text
            }
        };
        self.note_script(mac, method, given);
        Response::bytes(200, content_type("boot.ipxe"), text)
    }

    /// Why the machine cannot run its image. Its firmware was told nothing of it: its image may be another one since.
    fn misfit(&self, sighting: &Sighting) -> Option<String> {
        let architecture = self.shared.image_architecture(sighting.mac);
        sighting.firmware?.misfit(architecture.as_deref().unwrap_or(X86_64))
    }

    /// A machine has got its script. Who asks for the head alone, or comes from another card, has begun no boot with it.
    fn note_script(&self, mac: MacAddress, method: Method, given: Option<BootImage>) {
        if method != Method::Get {
            return;
        }
        let event = match self.mac.filter(|other| *other != mac) {
            Some(other) => EventKind::Conflict { what: format!("boot.ipxe of this machine was fetched by {other}") },
            None => {
                self.shared.engine().script_requested(self.shared.now(), mac, given);
                EventKind::Asked { file: "boot.ipxe".into(), via: Transport::Http }
            }
        };
        self.shared.record_for(Some(mac), self.client, event);
    }

    fn boot_config(&self, mac: MacAddress, method: Method) -> Response {
        self.note_initrd(mac);
        let Some(config) = self.shared.director.boot_config(mac) else {
            let why = "this machine is not to boot; `meadow pxe open` or `meadow machine arm` lets it";
            self.shared.record_for(Some(mac), self.client, EventKind::Ignored { why: why.into() });
            return Response::told(why);
        };
        if let Some(other) = self.mac.filter(|other| *other != mac) {
            // Said, not refused: with two cards in one network Linux may answer ARP with either.
            let what = format!(
                "boot.json of this machine was fetched by {other}; unless both cards are in one machine, \
                 somebody poses as it: check its fingerprint before you approve it"
            );
            self.shared.record_for(Some(mac), self.client, EventKind::Conflict { what });
        }
        if method == Method::Get {
            let event = EventKind::Asked { file: "boot.json".into(), via: Transport::Http };
            self.shared.record_for(Some(mac), self.client, event);
        }
        Response::bytes(200, "application/json", config.to_string())
    }

    /// The initrd of a machine has spoken; where it is, unless another card is known to speak from there.
    fn note_initrd(&self, mac: MacAddress) {
        let address = self.mac.is_none_or(|known| known == mac).then_some(self.client);
        self.shared.engine().initrd_started(self.shared.now(), mac, address);
    }

    fn progress(&self, mac: MacAddress, body: &[u8]) -> Response {
        let progress: Progress = match serde_json::from_slice(body) {
            Ok(progress) => progress,
            Err(error) => return Response::text(400, &format!("not a progress report: {error}")),
        };
        self.note_initrd(mac);
        let event = EventKind::Progress {
            stage: printable(progress.stage.as_bytes(), 40),
            // Saturates: out of range and NaN become 0 or 100.
            percent: progress.percent.map(|percent| percent.clamp(0.0, 100.0) as u8),
            message: printable(progress.message.as_bytes(), 300),
        };
        self.shared.record_for(Some(mac), self.client, event);
        Response::bytes(204, TEXT, [])
    }
}

/// The answer to a method that a path does not have.
fn not_served(route: &Route<'_>) -> Response {
    let mut response = Response::text(405, "this method is not served here");
    response.head.allow = Some(if matches!(route, Route::Progress(_)) { "POST" } else { "GET, HEAD" });
    response
}

/// The answer where the file is not as the client wants it (`changed` says so), or is the one that it has
/// (RFC 9110, 13.2.2).
fn unmet(request: &RequestHead, file: &Artifact, changed: &str) -> Option<Response> {
    if request.if_match.as_deref().is_some_and(|tags| !matches_strongly(tags, &file.sha256)) {
        return Some(Response::text(412, changed));
    }
    if request.if_none_match.as_deref().is_some_and(|tags| has_tag(tags, &file.sha256)) {
        let mut response = Response::bytes(304, content_type(&file.name), []);
        response.head.etag = Some(file.sha256.clone());
        return Some(response);
    }
    None
}

/// A whole file, a part of it, or the answer that it has no such part.
fn file_response(artifact: Arc<Artifact>, request: &RequestHead) -> Response {
    let size = artifact.size;
    let whole = ByteRange { start: 0, length: size };
    let tag = &artifact.sha256;
    // Of a HEAD a range says nothing (RFC 9110, 14.2).
    let asked = request.range.filter(|_| request.method == Method::Get);
    let range = asked.filter(|_| request.if_range.as_deref().is_none_or(|wanted| is_strong_tag(wanted, tag)));
    let (status, part) = match range.map(|range| range.resolve(size)) {
        None => (200, whole),
        Some(Some(part)) => (206, part),
        Some(None) => {
            let mut response = Response::text(416, "the file has no such part");
            response.head.unsatisfied = Some(size);
            return response;
        }
    };
    let mut head = ResponseHead::new(status, content_type(&artifact.name), part.length);
    head.etag = Some(artifact.sha256.clone());
    head.digest.clone_from(&artifact.digest);
    head.accept_ranges = true;
    head.range = (status == 206).then_some((part, size));
    Response { head, body: Body::File(artifact, part), is_told: false }
}

/// Whether `If-Range` names this very file: one strong entity tag. A weak one or a date does not (RFC 9110, 13.1.5).
fn is_strong_tag(value: &str, wanted: &str) -> bool {
    strong_tag(value) == Some(wanted)
}

/// The text of one strong entity tag.
fn strong_tag(value: &str) -> Option<&str> {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'))
}

/// Whether the list of `If-Match` holds this tag (RFC 9110, 13.1.1).
fn matches_strongly(tags: &str, wanted: &str) -> bool {
    tags.split(',').map(str::trim).any(|tag| tag == "*" || is_strong_tag(tag, wanted))
}

/// Whether the list of `If-None-Match` holds this tag, compared weakly (RFC 9110, 13.1.2).
fn has_tag(tags: &str, wanted: &str) -> bool {
    tags.split(',')
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == "*" || tag.trim_matches('"') == wanted)
}
