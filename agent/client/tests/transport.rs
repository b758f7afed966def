//! The client against servers that behave well and badly.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use meadow_client::{Client, ClientError, MAX_RESPONSE, Timeouts};
use meadow_model::work::StickUpdate;
use meadow_model::{Name, ProblemCode};
use meadow_pki::{Ca, CaPin, Role, server_config};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

const HEALTH: &str = r#"{"ok":true,"why":[],"version":"test"}"#;

fn name(text: &str) -> Name {
    Name::new(text).expect("a valid name")
}

/// A folder and a socket in it.
fn socket() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("api.sock");
    (folder, path)
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Reads the head of one request; `None` where the client has gone.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// Serves each connection of a Unix socket with one answer and closes it; returns how many there were when it ends.
fn serve_once_each(path: &Path, answers: Vec<String>) -> tokio::task::JoinHandle<Vec<String>> {
    let listener = UnixListener::bind(path).expect("a socket");
    tokio::spawn(async move {
        let mut heads = Vec::new();
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept().await else { break };
            heads.extend(request(&mut stream).await);
            // A client that has gone is what some of these tests are about.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        heads
    })
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_opened_again() {
    let (_folder, path) = socket();
    let server = serve_once_each(&path, vec![answer("200 OK", HEALTH), answer("200 OK", HEALTH)]);
    let client = Client::unix(&path);
    for _ in 0..2 {
        assert!(client.health().await.expect("an answer").ok);
    }
    assert_eq!(server.await.expect("ended").len(), 2);
}

#[tokio::test]
async fn a_problem_comes_through_as_it_was_written() {
    let (_folder, path) = socket();
    let problem = meadow_model::Problem::new(ProblemCode::NotFound, "there is no node a");
    let body = serde_json::to_string(&problem).expect("JSON");
    serve_once_each(&path, vec![answer("404 Not Found", &body)]);
    let error = Client::unix(&path).node(&name("a")).await.expect_err("a problem");
    assert_eq!(error.problem(), Some(&problem));
}

#[tokio::test]
async fn what_is_not_of_our_api_is_told_apart() {
    let huge =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", MAX_RESPONSE + 1) + &"x".repeat(MAX_RESPONSE + 1);
    for strange in [answer("200 OK", "<html>"), answer("502 Bad Gateway", "nginx"), "SSH-2.0-x\r\n".to_owned(), huge] {
        let (_folder, path) = socket();
        serve_once_each(&path, vec![strange.clone(), strange.clone()]);
        let error = Client::unix(&path).cluster().await.expect_err("refused");
        let told = matches!(error, ClientError::Protocol(..) | ClientError::NoAgent { .. });
        assert!(told, "{}: {error:?}", &strange[..20]);
    }
}

#[tokio::test]
async fn a_change_without_an_answer_is_not_sent_twice() {
    let (_folder, path) = socket();
    // The server reads the request and closes without an answer; a second attempt would get one.
    let server = serve_once_each(&path, vec![String::new(), answer("204 No Content", "")]);
    let error = Client::unix(&path).remove_node(&name("a"), 1).await.expect_err("no answer");
    assert!(matches!(error, ClientError::Protocol(..)), "{error:?}");
    server.abort();
}

#[tokio::test]
async fn a_silent_server_is_left_after_a_while() {
    let (_folder, path) = socket();
    let _listener = UnixListener::bind(&path).expect("a socket");
    let timeouts = Timeouts { connect: Duration::from_secs(5), answer: Duration::from_millis(50) };
    let client = Client::unix(&path).with_timeouts(timeouts);
    assert!(matches!(client.health().await, Err(ClientError::NoAgent { .. })));
    assert!(matches!(client.remove_node(&name("a"), 1).await, Err(ClientError::Protocol(..))));
}

#[tokio::test]
async fn work_on_disks_may_take_longer_than_all_else() {
    let (_folder, path) = socket();
    let listener = UnixListener::bind(&path).expect("a socket");
    let (may_answer, told) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let asked = request(&mut stream).await.expect("a request");
        told.await.expect("told");
        stream.write_all(answer("200 OK", r#"{"message":"written"}"#).as_bytes()).await.expect("sent");
        asked
    });
    let timeouts = Timeouts { connect: Duration::from_secs(5), answer: Duration::from_millis(50) };
    let client = Client::unix(&path).with_timeouts(timeouts);
    let update = StickUpdate { stick: "a".to_owned(), allow_older: false };
    let others = async {
        let (_folder, silent) = socket();
        let _listener = UnixListener::bind(&silent).expect("a socket");
        let impatient = Client::unix(&silent).with_timeouts(timeouts);
        assert!(impatient.health().await.is_err());
        may_answer.send(()).expect("somebody waits");
    };
    let (said, ()) = tokio::join!(client.update_self(&update), others);
    assert_eq!(said.expect("an answer").message, "written");
    assert!(server.await.expect("no panic").starts_with("POST /v1/self/update "));
}

/// Serves one request over TLS as a voter of `ca`; gives the address.
async fn tls_server(ca: &Ca) -> String {
    busy_tls_server(ca, std::future::ready(())).await
}

/// The same, which is busy with something else first: connections are accepted by its kernel meanwhile.
async fn busy_tls_server(ca: &Ca, first: impl Future<Output = ()> + Send + 'static) -> String {
    let identity = ca.issue(&name("seed"), Role::Voter).expect("a certificate");
    let acceptor = TlsAcceptor::from(server_config(&identity).expect("TLS"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        first.await;
        let (stream, _) = listener.accept().await?;
        let mut stream = acceptor.accept(stream).await?;
        respond(&mut stream).await
    });
    format!("https://{address}")
}

async fn respond(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<()> {
    request(stream).await.ok_or(ErrorKind::UnexpectedEof)?;
    stream.write_all(answer("200 OK", HEALTH).as_bytes()).await?;
    stream.flush().await
}

#[tokio::test]
async fn each_address_is_tried_until_one_answers() {
    let ca = Ca::generate(&name("home")).expect("a CA");
    // A port that was free a moment ago refuses connections.
    let dead = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let api = [format!("https://{dead}"), tls_server(&ca).await];
    let client = Client::tls(&api, CaPin(ca.fingerprint()), None).expect("a client");
    assert!(client.health().await.expect("an answer").ok);
    let client = Client::tls(&api[..1], CaPin(ca.fingerprint()), None).expect("a client");
    let error = client.health().await.expect_err("unreachable");
    assert!(matches!(&error, ClientError::Unreachable { tried } if tried.len() == 1), "{error:?}");
    assert!(error.to_string().contains(&dead.to_string()), "{error}");
}

#[tokio::test]
async fn a_busy_server_is_left_for_another_one_and_waited_for_where_there_is_none() {
    let ca = Ca::generate(&name("home")).expect("a CA");
    let timeouts = Timeouts { connect: Duration::from_millis(50), answer: Duration::from_secs(60) };
    let client =
        |api: &[String]| Client::tls(api, CaPin(ca.fingerprint()), None).expect("a client").with_timeouts(timeouts);
    let (done, told) = tokio::sync::oneshot::channel::<()>();
    let busy = busy_tls_server(&ca, async { told.await.expect("told") }).await;
    let never = busy_tls_server(&ca, std::future::pending()).await;
    let alone = client(std::slice::from_ref(&busy));
    let others = async {
        assert!(client(&[never, tls_server(&ca).await]).health().await.expect("an answer").ok);
        done.send(()).expect("somebody waits");
    };
    let (waited, ()) = tokio::join!(alone.health(), others);
    assert!(waited.expect("an answer").ok);
}

#[tokio::test]
async fn a_server_of_another_cluster_is_not_talked_to() {
    let (ours, theirs) = (Ca::generate(&name("home")).expect("a CA"), Ca::generate(&name("home")).expect("a CA"));
    let client = Client::tls(&[tls_server(&theirs).await], CaPin(ours.fingerprint()), None).expect("a client");
    let error = client.health().await.expect_err("refused");
    assert!(matches!(error, ClientError::OtherCluster { .. }), "{error:?}");
}
