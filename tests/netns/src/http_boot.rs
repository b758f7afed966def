//! Firmware that boots over HTTP, played packet by packet with stock clients: for kinds of which no binary is at hand.

use anyhow::{Context, Result, ensure};

use crate::Net;

/// What such a firmware was given.
#[derive(Debug)]
pub struct HttpBoot {
    /// The URL that the boot server's offer names.
    pub url: String,
    /// What is there.
    pub program: Vec<u8>,
}

impl HttpBoot {
    /// Asks as firmware with this processor architecture (DHCP option 93) does, beside the home router: DISCOVER, the
    /// boot server's offer, the router's lease, HEAD, GET. The client gets an address for HTTP.
    ///
    /// # Errors
    /// With the step that firmware would not have taken.
    pub fn play(net: &mut Net, architecture: u16) -> Result<Self> {
        let class = format!("HTTPClient:Arch:{architecture:05}:UNDI:003016");
        let client = net.client().clone();
        let capture = net.capture(&client, &format!("http-boot-{architecture}.log"))?;
        net.dhclient(&class, Some(architecture))?;
        let offer = capture.wait_for(&net.server_address(), "Offer")?;
        // EDK2 takes no offer for HTTP boot that does not repeat its class.
        ensure!(offer.contains("\"HTTPClient\""), "it is no offer for HTTP boot: {offer}");
        let url = url_of(&offer, &net.server_address()).with_context(|| format!("no URL: {offer}"))?;
        net.address_client()?;
        let size = head(net, &url)?;
        let got = net.on_client("curl", &["-sSf", &url])?;
        ensure!(got.status.success(), "GET {url}: {}", String::from_utf8_lossy(&got.stderr));
        ensure!(got.stdout.len() == size, "HEAD of {url} promised {size} bytes, GET gave {}", got.stdout.len());
        Ok(Self { url, program: got.stdout })
    }
}

/// The URL in an offer, which needs no name server: it has the boot server's address.
fn url_of(offer: &str, server: &str) -> Option<String> {
    let at = offer.find(&format!("http://{server}:"))?;
    let text = &offer[at..];
    // tcpdump writes the NUL that ends it as ^@.
    Some(text[..text.find(['"', '^', ' ', '\n'])?].to_owned())
}

/// What HEAD says of the size. Firmware follows no redirect, and neither does curl.
fn head(net: &Net, url: &str) -> Result<usize> {
    let got = net.on_client("curl", &["-sSI", url])?;
    let head = String::from_utf8_lossy(&got.stdout).into_owned();
    ensure!(head.starts_with("HTTP/1.1 200"), "HEAD {url}: {head}{}", String::from_utf8_lossy(&got.stderr));
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let size = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length")).map(|(_, value)| value).next();
    size.and_then(|size| size.trim().parse().ok()).with_context(|| format!("HEAD {url} names no size: {head}"))
}
