//! The program itself on a pseudo-terminal, with an agent of the test's own on a Unix socket.

mod pty;

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::pty::Pty;

const VIEW: &str = r#"{"name":"node-7","state":"ready","detail":"All is well.","cluster":"home","ca_fingerprint":null,
"fingerprint":null,"code":null,"addresses":[],"api":[],"events":[],"version":"0.1.0"}"#;

/// Answers `GET /v1/self` on one connection after another, as many requests as come, until the listener is dropped.
fn serve(listener: &UnixListener, connections: usize) {
    for _ in 0..connections {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
            request.push(byte[0]);
        }
        assert!(request.starts_with(b"GET /v1/self HTTP/1.1\r\n"), "{}", String::from_utf8_lossy(&request));
        let length = VIEW.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(format!("{head}{VIEW}").as_bytes()).expect("answered");
    }
}

fn console(socket: &Path, pty: &Pty) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meadow-console"));
    command.arg("--tty").arg(pty.path()).arg("--socket").arg(socket);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

#[test]
fn it_shows_the_agent_then_its_absence_and_a_key_draws_anew() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let socket = folder.path().join("api.sock");
    let listener = UnixListener::bind(&socket).expect("socket");
    // The size of a new pseudo-terminal is 0×0, as on a serial line.
    let mut pty = Pty::open();
    let mut child = console(&socket, &pty).spawn().expect("started");
    serve(&listener, 1);
    pty.wait_for(|screen| screen.contains("node-7") && screen.contains("READY"));
    drop(listener);
    pty.wait_for(|screen| screen.contains("AGENT NOT RUNNING") && screen.contains("since"));

    // Somebody comes to the line only now.
    pty.forget();
    pty.press(b"q");
    pty.wait_for(|screen| screen.contains("AGENT NOT RUNNING") && screen.contains("node-7"));

    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signalled");
    assert!(child.wait().expect("ended").success());
}

#[test]
fn what_is_no_terminal_is_refused_with_the_next_step() {
    let output = Command::new(env!("CARGO_BIN_EXE_meadow-console")).stdin(Stdio::null()).output().expect("started");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--tty"));
}
