//! `meadow pxe capture`.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
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
    let mut file = File::create_new(&path).with_context(|| format!("cannot make {}", path.display()))?;
    client.capture(&CaptureRequest { mac, for_s: args.duration }).await?;
    say(&format!("Capturing {mac} into {}; switch it on (Ctrl-C ends).", path.display()));
    let mut length = 0;
    loop {
        let ended = tokio::select! {
            () = tokio::time::sleep(FETCH) => false,
            _ = tokio::signal::ctrl_c() => true,
        };
        let part = client.captured(mac, length).await?;
        let bytes = BASE64.decode(part.data.as_bytes()).context("the agent sent no base64")?;
        file.write_all(&bytes).with_context(|| format!("cannot write {}", path.display()))?;
        length += bytes.len();
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
