use std::cell::RefCell;
use std::io::{BufRead, BufReader, Seek};
use std::net::TcpListener;
use std::thread::JoinHandle;

use super::*;
use crate::http::BaseUrl;

const SIZE: usize = 3 * CHUNK;

fn image() -> Vec<u8> {
    (0..SIZE).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect()
}

fn wanted() -> Artifact {
    Artifact { name: "root.img".to_owned(), size: SIZE as u64, sha256: hex(&Sha256::digest(image())) }
}

/// An empty download into a file without a name.
fn download() -> Download {
    let path = std::env::temp_dir().join(format!("meadow-image-{:x}", crate::system::random_seed()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    fs::remove_file(path).unwrap();
    Download::new(file)
}

/// Gives these answers to as many requests; the first and range lines of the requests.
fn server(answers: Vec<Vec<u8>>) -> (Route, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = BaseUrl::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let run = move || {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(&stream).lines().map(Result::unwrap).take_while(|line| !line.is_empty());
            let wanted = lines.filter(|line| line.starts_with("GET") || line.starts_with("Range"));
            requests.push(wanted.collect::<Vec<_>>().join(" "));
            // The client hangs up early where it refuses the head.
            let _ = stream.write_all(&answer);
        }
        requests
    };
    (Route { interface: Some("lo".to_owned()), base }, std::thread::spawn(run))
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {head}\r\n\r\n").as_bytes(), body].concat()
}

fn whole(body: &[u8]) -> Vec<u8> {
    answer(&format!("200 OK\r\nContent-Length: {SIZE}"), body)
}

fn rest(from: usize) -> Vec<u8> {
    let head =
        format!("206 Partial\r\nContent-Length: {}\r\nContent-Range: bytes {from}-{}/{SIZE}", SIZE - from, SIZE - 1);
    answer(&head, &image()[from..])
}

fn contents(download: &Download) -> Vec<u8> {
    let mut file = download.verified().expect("the image is verified").try_clone().unwrap();
    file.rewind().unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_whole_image_arrives_with_progress() {
    let (route, requests) = server(vec![whole(&image())]);
    let (mut download, told) = (download(), RefCell::new(Vec::new()));
    fetch(&mut download, &wanted(), &route, |percent| told.borrow_mut().push(percent)).unwrap();
    assert_eq!(contents(&download), image());
    assert_eq!(*told.borrow(), [33, 66, 100]);
    assert_eq!(requests.join().unwrap(), ["GET /artifacts/root.img HTTP/1.1"]);
    fetch(&mut download, &wanted(), &route, |_| {}).expect("nothing is asked for again");
}

#[test]
fn what_is_to_be_started_can_be_read_and_not_written() {
    let (route, _) = server(vec![whole(&image())]);
    let mut download = Download::small(&wanted()).unwrap();
    fetch(&mut download, &wanted(), &route, |_| {}).unwrap();
    let mut file = download.into_readable().unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, image());
    assert!(file.write_all(b"x").is_err());
    assert!(Download::small(&wanted()).unwrap().into_readable().is_err());
}

#[test]
fn a_broken_connection_goes_on_where_it_broke() {
    let half = SIZE / 2;
    let (route, requests) = server(vec![whole(&image()[..half]), rest(half)]);
    let mut download = download();
    let error = fetch(&mut download, &wanted(), &route, |_| {}).unwrap_err();
    assert!(error.to_string().contains(&format!("broke after {half} of {SIZE} bytes")), "{error:#}");
    assert!(download.verified().is_none());
    fetch(&mut download, &wanted(), &route, |_| {}).unwrap();
    assert_eq!(contents(&download), image());
    let expected = format!("GET /artifacts/root.img HTTP/1.1 Range: bytes={half}-");
    assert_eq!(requests.join().unwrap()[1], expected);
}

#[test]
fn a_server_without_ranges_sends_it_all_again() {
    let (route, _) = server(vec![whole(&image()[..100]), whole(&image())]);
    let mut download = download();
    fetch(&mut download, &wanted(), &route, |_| {}).unwrap_err();
    fetch(&mut download, &wanted(), &route, |_| {}).unwrap();
    assert_eq!(contents(&download), image());
}

#[test]
fn a_damaged_image_is_never_kept_and_starts_over() {
    let mut damaged = image();
    damaged[SIZE / 3] ^= 1;
    let (route, requests) = server(vec![whole(&damaged), whole(&image())]);
    let mut download = download();
    let error = fetch(&mut download, &wanted(), &route, |_| {}).unwrap_err();
    assert!(error.to_string().contains("has the digest"), "{error:#}");
    assert!(download.verified().is_none());
    fetch(&mut download, &wanted(), &route, |_| {}).unwrap();
    assert_eq!(contents(&download), image());
    assert_eq!(requests.join().unwrap()[1], "GET /artifacts/root.img HTTP/1.1");
}

#[test]
fn what_does_not_belong_to_this_initrd_is_refused_unread() {
    for (answer, expected) in [
        (answer("200 OK\r\nContent-Length: 4096", &[0; 4096]), "does not have the"),
        (answer("200 OK", b"endless"), "does not have the"),
        (answer("404 Not Found\r\nContent-Length: 0", b""), "has no root.img"),
        (answer("412 Precondition Failed\r\nContent-Length: 0", b""), "another root.img now"),
        (answer("503 Busy\r\nContent-Length: 0", b""), "status 503"),
        (rest(4096), "another range"),
    ] {
        let (route, _) = server(vec![answer]);
        let mut download = download();
        let error = fetch(&mut download, &wanted(), &route, |_| {}).unwrap_err();
        assert!(error.to_string().contains(expected), "{error:#}");
        assert_eq!(download.arrived, 0);
    }
}

#[test]
fn percents() {
    for (part, whole, expected) in [(0, 10, 0), (9, 10, 90), (10, 10, 100), (11, 10, 100), (0, 0, 100)] {
        assert_eq!(percent(part, whole), expected);
    }
}
