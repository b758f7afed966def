//! `meadow pxe capture`.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use data_encoding::BASE64;
use meadow_api::wire::CaptureRequest;
use meadow_client::Client;
use meadow_model::MacAddress;

use super::Context;
use crate::args::CaptureArgs;
use crate::exit::{Exit, Failure};
use crate::output::say;
use crate::reference;

/// How often what was captured is fetched.
const FETCH: Duration = Duration::from_secs(1);

pub(super) async fn run(context: &Context, args: &CaptureArgs) -> anyhow::Result<()> {
    let client = context.connect()?;
    let mac = card(&client, &args.machine).await?;
    let path = args.to.clone().unwrap_or_else(|| PathBuf::from(format!("{}.pcap", mac.hyphenated())));
    // Before anything is captured: a file that is there may be somebody's evidence.
    if path.symlink_metadata().is_ok() {
        return Err(is_there(&path));
    }
    client.capture(&CaptureRequest { mac, for_s: args.duration }).await?;
    // Only now, so that a refusal leaves nothing behind.
    let mut file = create(&path)?;
    say(&format!("Capturing {mac} into {}; switch it on (Ctrl-C ends).", path.display()));
    let (mut length, mut followed) = (0, None);
    loop {
        let ended = tokio::select! {
            () = tokio::time::sleep(FETCH) => false,
            _ = tokio::signal::ctrl_c() => true,
        };
        let part = client.captured(mac, length).await?;
        let bytes = BASE64.decode(part.data.as_bytes()).context("the agent sent no base64")?;
        file.write_all(&bytes).with_context(|| format!("cannot write {}", path.display()))?;
        length += bytes.len();
        if let Some(address) = part.address.filter(|address| followed != Some(*address)) {
            say(&format!("{mac} has the address {address} behind a router; what goes from and to it is captured too."));
            followed = Some(address);
        }
        if ended || part.done {
            break;
        }
    }
    say(&format!(
        "{} has {length} bytes. Look at it with `tcpdump -nn -r {}`, or attach it to a bug report.",
        path.display(),
        path.display()
    ));
    Ok(())
}

/// Makes a file that is not there yet.
fn create(path: &Path) -> anyhow::Result<File> {
    match File::create_new(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(is_there(path)),
        made => made.with_context(|| format!("cannot make {}", path.display())),
    }
}

fn is_there(path: &Path) -> anyhow::Error {
    let message = format!("{} is there already and is left as it is; give another name with --to", path.display());
    Failure::new(Exit::Conflict, message).into()
}

/// The network card of a machine, by its name or as it is.
async fn card(client: &Client, text: &str) -> anyhow::Result<MacAddress> {
    if let Ok(mac) = text.parse() {
        return Ok(mac);
    }
    let machine = reference::machine(client, text).await?;
    let unknown = || {
        Failure::new(
            Exit::Conflict,
            format!("{text} has no network card that the PXE server has seen; give its MAC address"),
        )
    };
    Ok(machine.status.mac.ok_or_else(unknown)?)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make files of their own")]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_stays_and_the_next_step_is_said() {
        let path = std::env::temp_dir().join(format!("meadow-capture-{}.pcap", std::process::id()));
        drop(create(&path).expect("made"));
        std::fs::write(&path, "evidence").expect("written");
        let error = create(&path).expect_err("refused").to_string();
        assert!(error.contains("--to"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("kept"), "evidence");
        std::fs::remove_file(&path).expect("removed");
    }
}
