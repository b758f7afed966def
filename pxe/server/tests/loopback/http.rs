//! Files and reports over HTTP.

use data_encoding::BASE64;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::rig::*;

#[tokio::test]
async fn http_serves_files_and_their_parts() {
    let rig = Rig::start(|_| {}).await;
    let (head, body) = rig.get("/artifacts/initrd", "").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(body == big_file());
    assert!(
        head.contains(&format!("Repr-Digest: sha-256=:{}:\r\n", BASE64.encode(&Sha256::digest(big_file())))),
        "{head}"
    );
    let etag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).expect("an entity tag").to_owned();
    for (headers, status, wanted) in [
        ("Range: bytes=10-19\r\n".to_owned(), "206", &big_file()[10..20]),
        (format!("Range: bytes={}-\r\nIf-Range: {etag}\r\n", BIG - 5), "206", &big_file()[BIG - 5..]),
        ("Range: bytes=0-9\r\nIf-Range: \"other\"\r\n".to_owned(), "200", &big_file()[..]),
        (format!("Range: bytes=0-9\r\nIf-Range: W/{etag}\r\n"), "200", &big_file()[..]),
        (format!("If-None-Match: \"x\", W/{etag}\r\n"), "304", b""),
        (format!("Range: bytes={BIG}-\r\n"), "416", b"the file has no such part\n"),
        (format!("If-None-Match: {etag}\r\n"), "304", b""),
    ] {
        let (head, body) = rig.get("/artifacts/initrd", &headers).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{headers}{head}");
        assert!(body == wanted, "{headers}");
    }
    rig.wait_for_event("pxe.sent", "sent 100 % of initrd").await;
    rig.server.stop().await;
}

#[tokio::test]
async fn own_files_are_compared_by_their_tags_and_a_report_has_no_length() {
    let rig = Rig::start(|_| {}).await;
    let path = "/files/debian/linux";
    let (head, _) = rig.get(path, "").await;
    let etag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).expect("an entity tag").to_owned();
    for (headers, status, wanted) in [
        (format!("If-None-Match: {etag}\r\n"), "304", &b""[..]),
        (format!("If-Match: {etag}\r\n"), "200", b"another kernel"),
        ("If-Match: \"other\"\r\n".to_owned(), "412", b"the file is another one by now; ask for it anew\n"),
        ("Range: BYTES=0-6\r\n".to_owned(), "206", b"another"),
    ] {
        let (head, body) = rig.get(path, &headers).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{headers}{head}");
        assert_eq!(body, wanted, "{headers}");
    }
    let report = r#"{"stage":"network"}"#;
    let length = report.len();
    let request = "POST /machine/52-54-00-00-00-01/progress HTTP/1.1\r\nHost: x\r\nConnection: close, keep-alive\r\n";
    let answer = rig.http(format!("{request}Content-Length: {length}\r\n\r\n{report}")).await;
    let (head, _) = split(&answer);
    assert!(head.starts_with("HTTP/1.1 204 ") && !head.contains("Content-Length"), "{head}");
    rig.server.stop().await;
}

#[tokio::test]
async fn http_connection_carries_several_requests() {
    let rig = Rig::start(|_| {}).await;
    let answer = rig
        .http(
            "HEAD /artifacts/ipxe/ipxe.efi HTTP/1.1\r\nHost: x\r\n\r\n\
             GET /artifacts/ipxe/ipxe.efi HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        .await;
    let (head, rest) = split(&answer);
    assert!(head.contains("Content-Type: application/efi\r\n") && head.contains("Content-Length: 6\r\n"), "{head}");
    assert_eq!(split(&rest).1, b"loader", "no body behind the HEAD");
    rig.server.stop().await;
}

/// RFC 9110: 6.6.1, 10.2.1, 14.2.
#[tokio::test]
async fn http_answers_have_a_date_a_head_has_no_part_and_a_refusal_names_the_methods() {
    let rig = Rig::start(|_| {}).await;
    let ask = |request: &str| {
        rig.http(format!("{request} HTTP/1.1\r\nHost: x\r\nRange: bytes=1-2\r\nConnection: close\r\n\r\n"))
    };
    let (head, _) = split(&ask("HEAD /artifacts/ipxe/ipxe.efi").await);
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("Content-Length: 6\r\n"), "{head}");
    let date = head.lines().find_map(|line| line.strip_prefix("Date: ")).expect("a date");
    assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
    for (request, allowed) in [
        ("DELETE /artifacts/initrd", "GET, HEAD"),
        ("POST /machine/52-54-00-00-00-01/boot.json", "GET, HEAD"),
        ("GET /machine/52-54-00-00-00-01/progress", "POST"),
    ] {
        let (head, _) = split(&ask(request).await);
        assert!(head.starts_with("HTTP/1.1 405") && head.contains(&format!("Allow: {allowed}\r\n")), "{head}");
    }
    rig.server.stop().await;
}

#[tokio::test]
async fn progress_is_recorded_and_made_printable() {
    let rig = Rig::start(|_| {}).await;
    let post = |body: &str| {
        format!(
            "POST /machine/52-54-00-00-00-01/progress HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let good = json!({ "stage": "root-download", "percent": 42, "message": "half\u{1b}[2J\nway" }).to_string();
    assert!(rig.http(post(&good)).await.starts_with(b"HTTP/1.1 204"));
    assert!(rig.http(post("{}")).await.starts_with(b"HTTP/1.1 400"));
    assert!(rig.http(post(&" ".repeat(4097))).await.starts_with(b"HTTP/1.1 413"));
    let events = rig.server.events(Some(KNOWN), 0);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].text, "root-download 42 %: half?[2J?way");
    rig.server.stop().await;
}

#[tokio::test]
async fn hostile_http_is_refused_and_closed() {
    let rig = Rig::start(|_| {}).await;
    for (request, status) in [
        ("\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/3.0\r\n\r\n".to_owned(), "505"),
        (format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(9000)), "431"),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), "411"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n".to_owned(), "413"),
        ("DELETE /artifacts/initrd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(), "405"),
        ("GET /artifacts/../manifest.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(), "404"),
    ] {
        let (head, _) = split(&rig.http(request.clone()).await);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.60}: {head}");
    }
    rig.server.stop().await;
}
