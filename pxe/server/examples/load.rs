//! Load for TFTP and HTTP servers, ours and others: many clients fetch one file at once.
//!
//! `cargo run --release -p meadow-pxe --example load -- tftp 10.77.0.2:69 ipxe/snponly.efi --clients 50 --window 16`

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::{Parser, ValueEnum};

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Protocol {
    Tftp,
    Http,
}

/// Fetches one file with many clients at once and prints one line of JSON.
#[derive(Debug, Clone, Parser)]
struct Arguments {
    protocol: Protocol,
    /// Address and port of the server.
    server: SocketAddr,
    /// Name of the file (TFTP) or path (HTTP).
    file: String,
    /// Clients at once, a thread each.
    #[arg(long, default_value_t = 1)]
    clients: usize,
    /// TFTP block size.
    #[arg(long, default_value_t = 1428)]
    block_size: usize,
    /// TFTP window; 1 is not negotiated.
    #[arg(long, default_value_t = 1)]
    window: u16,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let start = Instant::now();
    let clients: Vec<_> = (0..arguments.clients)
        .map(|_| {
            let arguments = arguments.clone();
            std::thread::spawn(move || match arguments.protocol {
                Protocol::Tftp => fetch_tftp(&arguments),
                Protocol::Http => fetch_http(&arguments),
            })
        })
        .collect();
    let (mut bytes, mut failures) = (0, 0);
    for client in clients {
        match client.join() {
            Ok(Ok(received)) => bytes += received,
            Ok(Err(error)) => {
                eprintln!("{error:#}");
                failures += 1;
            }
            Err(_) => failures += 1,
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let megabytes = bytes as f64 / 1e6;
    println!(
        "{{\"clients\":{},\"failures\":{failures},\"bytes\":{bytes},\"seconds\":{seconds:.3},\"mb_per_s\":{:.1}}}",
        arguments.clients,
        megabytes / seconds
    );
    ensure!(failures == 0, "{failures} of {} clients failed", arguments.clients);
    Ok(())
}

fn fetch_http(arguments: &Arguments) -> anyhow::Result<u64> {
    let mut stream = TcpStream::connect(arguments.server).context("connecting")?;
    write!(stream, "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", arguments.file, arguments.server)?;
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(bytes),
            length => {
                ensure!(bytes > 0 || buffer.starts_with(b"HTTP/1.1 200"), "the server refused");
                bytes += length as u64;
            }
        }
    }
}

fn fetch_tftp(arguments: &Arguments) -> anyhow::Result<u64> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let mut request = format!("\0\x01{}\0octet\0blksize\0{}\0", arguments.file, arguments.block_size);
    if arguments.window > 1 {
        request += &format!("windowsize\0{}\0", arguments.window);
    }
    let mut transfer = Client { expected: 1, received: 0, in_window: 0, window: arguments.window };
    let mut last_sent = (request.into_bytes(), arguments.server);
    socket.send_to(&last_sent.0, last_sent.1)?;
    let mut buffer = [0; 2048];
    let mut silences = 0;
    loop {
        let (length, from) = match socket.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(_) if silences < 20 => {
                silences += 1;
                socket.send_to(&last_sent.0, last_sent.1)?;
                continue;
            }
            Err(error) => return Err(error).context("the server is silent"),
        };
        silences = 0;
        let (answer, is_last) = transfer.receive(&buffer[..length], arguments.block_size)?;
        if let Some(block) = answer {
            last_sent = ([&[0, 4], &block.to_be_bytes()[..]].concat(), from);
            socket.send_to(&last_sent.0, from)?;
        }
        if is_last {
            return Ok(transfer.received);
        }
    }
}

struct Client {
    expected: u16,
    received: u64,
    in_window: u16,
    window: u16,
}

impl Client {
    /// The block to acknowledge, and whether the file is complete.
    fn receive(&mut self, packet: &[u8], block_size: usize) -> anyhow::Result<(Option<u16>, bool)> {
        let [0, opcode, high, low, data @ ..] = packet else { bail!("not a TFTP packet") };
        match opcode {
            3 if u16::from_be_bytes([*high, *low]) != self.expected => {
                // Said once for each gap, at its first block.
                let is_new = std::mem::replace(&mut self.in_window, 0) != 0;
                Ok((is_new.then_some(self.expected.wrapping_sub(1)), false))
            }
            3 => {
                let block = self.expected;
                self.expected = block.wrapping_add(1);
                self.received += data.len() as u64;
                self.in_window += 1;
                let is_last = data.len() < block_size;
                let is_full = self.in_window >= self.window;
                if is_full {
                    self.in_window = 0;
                }
                Ok(((is_last || is_full).then_some(block), is_last))
            }
            5 => bail!("the server refused: {}", String::from_utf8_lossy(data)),
            6 => Ok((Some(0), false)),
            _ => bail!("unexpected opcode {opcode}"),
        }
    }
}
