//! How the network cards of this computer are set, as the agent tells it; the helper with rights sets them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use meadow_host::links::{Link, Links};
use meadow_host::{Clock, SystemClock, files};
use meadow_model::install::{DiskRequest, TryNetwork};
use meadow_model::network::{CardId, CardNetwork, CardView, KnownNetwork, NetworkChange, NetworkView, resolve};
use meadow_model::preboot::StaticNetwork;
use meadow_model::{Problem, ProblemCode};
use tokio::sync::Mutex;

use crate::disk_helper::{DiskError, DiskHelper};

const NOT_OURS: &str =
    "this computer runs on a system of its own, whose network Meadow does not change; use that system's tools";
/// The kernel's table of IPv4 routes; far longer than any of ours.
const ROUTES: &str = "/proc/net/route";
const LONGEST_ROUTES: u64 = 1 << 20;

/// The settings of this computer.
pub struct NetworkSettings {
    /// `None` on a computer with a system of its own.
    helper: Option<DiskHelper>,
    /// How the cards were set at the start, where no record says it.
    start: Vec<StaticNetwork>,
    /// What the helper said last, and when.
    known: Mutex<Option<(KnownNetwork, Duration)>>,
}

impl NetworkSettings {
    /// Those of a computer that runs our image; `start` are the fixed addresses of the stick that it booted from.
    #[must_use]
    pub fn new(helper: DiskHelper, start: Vec<StaticNetwork>) -> Self {
        Self { helper: Some(helper), start, known: Mutex::default() }
    }

    /// Those of a computer that Meadow leaves alone.
    #[must_use]
    pub fn of_another_system() -> Self {
        Self { helper: None, start: Vec::new(), known: Mutex::default() }
    }

    /// What there is now.
    ///
    /// # Errors
    /// `Unavailable` where the helper does not answer.
    pub async fn view(&self) -> Result<NetworkView, Problem> {
        let known = self.known().await?;
        Ok(self.shown(known).await)
    }

    /// Tries what somebody wants.
    ///
    /// # Errors
    /// `BadRequest` with the fields that are wrong; `Conflict` where it cannot be done now.
    pub async fn begin(&self, change: &NetworkChange) -> Result<NetworkView, Problem> {
        let cards = cards(&links().await);
        let networks = resolve(&change.networks, &cards).map_err(|fields| {
            let first = fields.first().map_or("", |error| &error.message).to_owned();
            let mut problem = Problem::new(ProblemCode::BadRequest, first);
            problem.fields = fields;
            problem
        })?;
        let work = TryNetwork { cards, start: self.start.clone(), networks };
        let known = self.ask(&DiskRequest::TryNetwork(Box::new(work))).await?;
        Ok(self.shown(known).await)
    }

    /// Keeps what is tried, or brings back what was before.
    ///
    /// # Errors
    /// `Conflict` where there is nothing to keep.
    pub async fn end(&self, keep: bool) -> Result<NetworkView, Problem> {
        let request = if keep { DiskRequest::ConfirmNetwork } else { DiskRequest::NetworkBack };
        let known = self.ask(&request).await?;
        Ok(self.shown(known).await)
    }

    /// What an installation writes into the node's record.
    pub async fn records(&self) -> Vec<StaticNetwork> {
        match self.known().await {
            Ok(KnownNetwork { kept: Some(kept), .. }) => kept,
            _ => self.start.clone(),
        }
    }

    /// What the helper said last; asked again while a trial may have ended by itself.
    async fn known(&self) -> Result<KnownNetwork, Problem> {
        if self.helper.is_none() {
            return Ok(KnownNetwork::default());
        }
        if let Some((known, at)) = &*self.known.lock().await {
            let age = SystemClock.boottime().saturating_sub(*at).as_secs();
            let mut known = known.clone();
            let over = known.trial.as_mut().is_some_and(|trial| {
                trial.left_s = trial.left_s.saturating_sub(age);
                trial.left_s == 0
            });
            if !over {
                return Ok(known);
            }
        }
        self.ask(&DiskRequest::LookAtNetwork).await
    }

    async fn ask(&self, request: &DiskRequest) -> Result<KnownNetwork, Problem> {
        let helper = self.helper.as_ref().ok_or_else(|| Problem::new(ProblemCode::Conflict, NOT_OURS))?;
        // Held meanwhile: what one asker is told never covers what a later one is.
        let mut known = self.known.lock().await;
        *known = None;
        let done = helper.ask(request, |_, _| {}).await.map_err(|error| match error {
            DiskError::Refused(why) => Problem::new(ProblemCode::Conflict, why),
            other => Problem::new(ProblemCode::Unavailable, other.to_string()),
        })?;
        let told = done.network.map(|network| *network).unwrap_or_default();
        *known = Some((told.clone(), SystemClock.boottime()));
        Ok(told)
    }

    async fn shown(&self, known: KnownNetwork) -> NetworkView {
        let links = links().await;
        let ids = cards(&links);
        let kept = CardNetwork::of_records(known.kept.as_ref().unwrap_or(&self.start), &ids);
        let gateways = files::read(Path::new(ROUTES), LONGEST_ROUTES).map(|bytes| gateways(&bytes)).unwrap_or_default();
        let cards = ids.into_iter().map(|card| card_view(card, &links, &kept, &gateways)).collect();
        let locked = self.helper.is_none().then(|| NOT_OURS.to_owned());
        NetworkView { cards, trial: known.trial, lasts: known.lasts, locked }
    }
}

async fn links() -> Vec<Link> {
    let Ok(links) = Links::open() else { return Vec::new() };
    links.list().await.unwrap_or_default()
}

/// The wired cards, as the initramfs takes them up.
fn cards(links: &[Link]) -> Vec<CardId> {
    let real = links.iter().filter(|link| link.kind.is_none() && !link.loopback);
    real.filter_map(|link| Some(CardId { name: link.name.clone(), mac: link.mac? })).collect()
}

fn card_view(card: CardId, links: &[Link], kept: &[CardNetwork], gateways: &BTreeMap<String, Ipv4Addr>) -> CardView {
    let vlan = format!("{}.", card.name);
    let of_card = |link: &&Link| link.name == card.name || link.name.starts_with(&vlan);
    let addresses = links.iter().filter(of_card).flat_map(|link| {
        let of_vlan = link.name.strip_prefix(&vlan).map(|vlan| format!(" (VLAN {vlan})")).unwrap_or_default();
        link.routable_addresses().map(move |cidr| format!("{}/{}{of_vlan}", cidr.address(), cidr.length()))
    });
    let addresses = addresses.collect();
    let gateway = gateways.iter().find(|(name, _)| **name == card.name || name.starts_with(&vlan));
    CardView {
        carrier: links.iter().any(|link| link.name == card.name && link.carrier),
        addresses,
        gateway: gateway.map(|(_, address)| IpAddr::V4(*address)),
        networks: kept.iter().filter(|network| network.card == card).cloned().collect(),
        card,
    }
}

/// The default routes of `/proc/net/route`: interface, destination and router in little-endian hexadecimal.
fn gateways(table: &[u8]) -> BTreeMap<String, Ipv4Addr> {
    let text = String::from_utf8_lossy(table);
    let default = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, destination, gateway) = (words.next()?, words.next()?, words.next()?);
        let gateway = u32::from_str_radix(gateway, 16).ok().filter(|gateway| *gateway != 0)?;
        (destination == "00000000").then(|| (name.to_owned(), Ipv4Addr::from(gateway.to_le_bytes())))
    };
    text.lines().skip(1).filter_map(default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routers_are_read_from_the_kernels_table() {
        let table = b"Iface\tDestination\tGateway \tFlags\n\
            eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\neth0\t000200C0\t00000000\t0001\nbad\n";
        assert_eq!(gateways(table), BTreeMap::from([("eth0".to_owned(), Ipv4Addr::new(192, 0, 2, 1))]));
        assert_eq!(gateways(b""), BTreeMap::new());
    }

    #[tokio::test]
    async fn another_system_is_left_alone() {
        let settings = NetworkSettings::of_another_system();
        assert!(settings.view().await.expect("a view").locked.is_some());
        let refused = settings.end(true).await.expect_err("refused");
        assert_eq!(refused.code, ProblemCode::Conflict);
        let mistaken = settings.begin(&NetworkChange::default()).await.expect_err("refused");
        assert_eq!((mistaken.code, mistaken.fields.len()), (ProblemCode::BadRequest, 1));
    }
}
