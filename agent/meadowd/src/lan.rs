//! A machine that runs our image and that nobody has invited: whether a Meadow server on its LAN knows it.
//!
//! Asked for as long as it takes. A switch that was switched on together with the machine passes nothing on for minutes, a
//! router may be later still, and addresses may be set by hand at the console meanwhile.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use meadow_client::{ArtifactError, fetch_artifact};
use meadow_controllers::paths::Paths;
use meadow_controllers::self_status::SelfStatus;
use meadow_controllers::stored;
use meadow_host::links::{Link, Links};
use meadow_host::{Entropy, SystemEntropy, files};
use meadow_model::MacAddress;
use meadow_model::boot::{BootAction, BootConfig, BootReport};
use meadow_model::console::SelfState;
use meadow_netboot::dhcp::{ASKED, BootServerQuestion, MAX_REPLY};
use tokio::net::UdpSocket;
use tokio::time::Instant;
use tracing::debug;

/// How often the cards are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often the same cards ask again.
const AGAIN: Duration = Duration::from_secs(10);
/// For an answer from the LAN, which takes milliseconds.
const ANSWER: Duration = Duration::from_secs(2);
/// Bytes of `boot.json`, as in the initramfs.
const LONGEST: u64 = 64 << 10;

/// An address by which a server can be asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Card {
    name: String,
    mac: MacAddress,
    address: Ipv4Addr,
}

/// Whether this machine asks: it runs our image, without a state of a node and without a seed that says whom to ask.
pub(crate) fn asks(paths: &Paths) -> bool {
    let report = stored::load::<BootReport>(&paths.boot_report());
    matches!(report, Ok(Some(report)) if report.state.is_none()) && !files::exists(&paths.seed())
}

/// Asks until a server tells where this machine enrols, and leaves that as the initramfs of a netbooted machine would. Says
/// meanwhile on the console what is missing. Never comes back.
pub(crate) async fn ask(paths: &Paths, status: &SelfStatus) {
    let (mut asked, mut again) = (BTreeSet::new(), Instant::now());
    let mut refused = None;
    while asks(paths) && !files::exists(&paths.boot_config()) {
        let links = links().await;
        let cards = cards(&links);
        if cards != asked || Instant::now() >= again {
            refused = None;
            for card in &cards {
                match invitation(card, paths).await {
                    Ok(true) => return std::future::pending().await,
                    Ok(false) => {}
                    Err(why) => refused = Some(why),
                }
            }
            (asked, again) = (cards, Instant::now() + AGAIN);
        }
        say(paths, status, &refused.clone().unwrap_or_else(|| missing(&links).to_owned()));
        tokio::time::sleep(LOOK).await;
    }
    std::future::pending().await
}

/// Why an enrolment failed, or that the node was removed, stays to be read.
fn say(paths: &Paths, status: &SelfStatus, missing: &str) {
    if !matches!(status.view().state, SelfState::Starting | SelfState::Unconfigured) {
        return;
    }
    let who = if crate::stick::booted(paths) { "this stick has no seed" } else { "this disk has no state of a node" };
    status.set(SelfState::Unconfigured, format!("{who}; looking for a Meadow server on this LAN: {missing}"));
}

async fn links() -> Vec<Link> {
    let Ok(links) = Links::open() else { return Vec::new() };
    let mut list = links.list().await.unwrap_or_default();
    list.retain(|link| !link.loopback && matches!(link.kind.as_deref(), None | Some("vlan")));
    list
}

fn cards(links: &[Link]) -> BTreeSet<Card> {
    let of_link = |link: &Link| {
        let address = link.routable_addresses().find_map(|cidr| match cidr.address() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })?;
        Some(Card { name: link.name.clone(), mac: link.mac?, address })
    };
    links.iter().filter(|link| link.carrier).filter_map(of_link).collect()
}

/// What is missing, with the next step for a person.
fn missing(links: &[Link]) -> &'static str {
    if links.is_empty() {
        "no network card was found"
    } else if !links.iter().any(|link| link.carrier) {
        "plug in a network cable"
    } else if cards(links).is_empty() {
        "no DHCP server answers yet; is the router on? An address can be set here too"
    } else {
        "none answers; is it on, and does it know this machine (`meadow machine boot MAC image`)?"
    }
}

/// Whether a server was found by this card that invites this machine; the error says why one does not.
async fn invitation(card: &Card, paths: &Paths) -> Result<bool, String> {
    let server = match find_server(card).await {
        Ok(Some(server)) => server,
        Ok(None) => return Ok(false),
        Err(error) => {
            debug!(card = card.name, %error, "the LAN cannot be asked");
            return Ok(false);
        }
    };
    let mut body = Vec::new();
    let folder = format!("machine/{}", card.mac.to_string().replace(':', "-"));
    let keep = |piece: &[u8]| {
        body.extend_from_slice(piece);
        Ok(())
    };
    match fetch_artifact(&server.to_string(), &folder, "boot.json", LONGEST, keep).await {
        Ok(_) => {}
        Err(ArtifactError::Status { .. }) => {
            return Err(format!("{server} ignores this machine; name its MAC address there, or open the boot window"));
        }
        Err(error) => return Err(error.to_string()),
    }
    let config = wanted(&body, crate::stick::booted(paths)).map_err(|why| format!("{server} says that {why}"))?;
    stored::save(&paths.boot_config(), &config).map_err(|error| error.to_string())?;
    Ok(true)
}

/// What it says, where that is to enrol.
fn wanted(body: &[u8], from_stick: bool) -> Result<BootConfig, String> {
    let config: BootConfig =
        serde_json::from_slice(body).map_err(|error| format!("it has a boot.json that cannot be read: {error}"))?;
    match config.action {
        _ if config.version != BootConfig::VERSION => {
            Err(format!("it speaks version {} of boot.json: write a newer stick", config.version))
        }
        BootAction::Hold => Err("this machine is to be held; change its boot policy there".to_owned()),
        BootAction::Local if from_stick => {
            Err("this machine is to boot from its own disk: pull the stick, or change its boot policy there".to_owned())
        }
        // It does boot from its own disk; whom it belongs to is worth to know all the same.
        BootAction::Local | BootAction::Boot => Ok(config),
    }
}

/// The boot server in the network of this card.
async fn find_server(card: &Card) -> std::io::Result<Option<SocketAddrV4>> {
    let mut xid = [0; 4];
    SystemEntropy.fill(&mut xid).map_err(std::io::Error::other)?;
    let question = BootServerQuestion { mac: card.mac, address: card.address, xid: u32::from_ne_bytes(xid) };
    let socket = UdpSocket::bind((card.address, 0)).await?;
    socket.bind_device(Some(card.name.as_bytes()))?;
    socket.set_broadcast(true)?;
    socket.send_to(&question.datagram().ok_or(std::io::ErrorKind::InvalidData)?, ASKED).await?;
    let answered = async {
        let mut buffer = vec![0; MAX_REPLY];
        loop {
            let length = socket.recv(&mut buffer).await?;
            if let Some(server) = question.answer(&buffer[..length]) {
                return Ok(server);
            }
        }
    };
    tokio::time::timeout(ANSWER, answered).await.ok().transpose()
}

#[cfg(test)]
mod tests {
    use meadow_host::Cidr;

    use super::*;

    fn link(carrier: bool, address: Option<&str>) -> Link {
        Link {
            index: 2,
            name: "eth0".to_owned(),
            mac: Some(MacAddress([2, 0, 0, 0, 0, 1])),
            permanent_mac: None,
            mtu: 1500,
            up: true,
            carrier,
            loopback: false,
            kind: None,
            driver: None,
            addresses: address.into_iter().map(|text| Cidr::new(text.parse().expect(text), 24).expect(text)).collect(),
        }
    }

    #[test]
    fn what_is_missing_is_said_and_only_what_can_ask_does() {
        for (links, said, asked) in [
            (vec![], "no network card", 0),
            (vec![link(false, Some("192.0.2.7"))], "plug in a network cable", 0),
            (vec![link(true, None)], "no DHCP server answers yet", 0),
            (vec![link(true, Some("169.254.0.7"))], "no DHCP server answers yet", 0),
            (vec![link(false, None), link(true, Some("192.0.2.7"))], "does it know this machine", 1),
        ] {
            assert!(missing(&links).contains(said), "{links:?}");
            assert_eq!(cards(&links).len(), asked, "{links:?}");
        }
    }

    #[test]
    fn only_an_invitation_is_taken() {
        let config = |version: u32, action: &str| {
            let fingerprint = meadow_model::Fingerprint([1; 32]);
            format!(
                r#"{{"version":{version},"action":"{action}","ticket":null,"authorized_keys":[],"cluster":{{"name":"home","ca_fingerprint":"{fingerprint}","api":[]}}}}"#
            )
        };
        let why =
            |body: &str, from_stick| wanted(body.as_bytes(), from_stick).map(|c| c.cluster.name).unwrap_or_else(|e| e);
        for (body, from_stick, said) in [
            (config(1, "boot"), true, "home"),
            (config(1, "boot"), false, "home"),
            (config(1, "local"), false, "home"),
            (config(1, "local"), true, "pull the stick"),
            (config(1, "hold"), false, "is to be held"),
            (config(2, "boot"), true, "version 2"),
            ("{".to_owned(), true, "cannot be read"),
        ] {
            assert!(why(&body, from_stick).contains(said), "{body} {from_stick}: {}", why(&body, from_stick));
        }
    }

    #[test]
    fn who_has_a_state_or_a_seed_asks_nobody() {
        let root = tempfile::tempdir().expect("a folder");
        let paths = Paths::below(root.path());
        files::make_folder(&paths.run_dir(), files::Access::Private).expect("made");
        assert!(!asks(&paths), "an ordinary host");
        let without = BootReport::default();
        let with = BootReport {
            state: Some(meadow_model::boot::BootState { serial: "S1".to_owned() }),
            ..BootReport::default()
        };
        for (report, expected) in [(with, false), (without, true)] {
            stored::save(&paths.boot_report(), &report).expect("saved");
            assert_eq!(asks(&paths), expected);
        }
        stored::save(&paths.seed(), &meadow_model::seed::Seed::new()).expect("saved");
        assert!(!asks(&paths));
    }
}
