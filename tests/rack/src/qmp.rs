//! QEMU's control socket (QMP): one command a connection.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// Runs one command and gives its answer.
///
/// # Errors
/// When QEMU does not answer within 10 s or refuses.
pub fn execute(socket: &Path, command: &str, arguments: &Value) -> Result<Value> {
    let mut stream =
        UnixStream::connect(socket).with_context(|| format!("QEMU does not listen on {}", socket.display()))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    lines.next().context("QEMU did not greet")??;
    let mut ask = |name: &str, request: Value| {
        stream.write_all(format!("{request}\n").as_bytes())?;
        answer(&mut lines).with_context(|| format!("QEMU command {name}"))
    };
    ask("qmp_capabilities", json!({"execute": "qmp_capabilities"}))?;
    ask(command, json!({"execute": command, "arguments": arguments}))
}

/// The next line that is an answer; events come in between.
fn answer(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> Result<Value> {
    for line in lines {
        let mut value: Value = serde_json::from_str(&line?)?;
        if let Some(error) = value.get("error") {
            bail!("{error}");
        }
        if let Some(answer) = value.get_mut("return") {
            return Ok(answer.take());
        }
    }
    bail!("QEMU hung up")
}
