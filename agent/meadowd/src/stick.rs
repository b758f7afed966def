//! A computer that booted from a stick: what the seed says, as the initramfs left it.

use meadow_controllers::enrol::EnrolFailure;
use meadow_controllers::paths::Paths;
use meadow_controllers::self_status::SelfStatus;
use meadow_controllers::stored;
use meadow_enroll::JoinToken;
use meadow_model::boot::{BootCluster, BootReport};
use meadow_model::hardware::Hardware;
use meadow_model::preboot::StaticNetwork;
use meadow_model::seed::{CardChoice, Seed, SeedAction};
use meadow_model::{Name, ProblemCode};
use tracing::warn;

/// Whom a seed lets this computer enrol with.
pub(crate) struct SeedInvitation {
    pub(crate) cluster: BootCluster,
    pub(crate) token: JoinToken,
    pub(crate) wanted_name: Option<Name>,
}

/// The seed of this boot; `None` where there is none, or none that can be used.
pub(crate) fn seed(paths: &Paths) -> Option<Seed> {
    let seed = stored::load::<Seed>(&paths.seed()).inspect_err(|error| warn!("the stick's seed: {error}")).ok()??;
    seed.check().inspect_err(|error| warn!("the stick's seed: {error}")).is_ok().then_some(seed)
}

/// The invitation of a seed with a token.
pub(crate) fn invitation(paths: &Paths) -> Option<SeedInvitation> {
    let seed = seed(paths)?;
    // The error does not quote the text, which is a secret.
    let token =
        seed.token?.expose().parse::<JoinToken>().inspect_err(|error| warn!("the stick's seed: {error}")).ok()?;
    let cluster = BootCluster { name: String::new(), ca_fingerprint: token.ca_fingerprint, api: seed.api };
    Some(SeedInvitation { cluster, token, wanted_name: seed.name })
}

/// Whether this boot came from a stick.
pub(crate) fn booted(paths: &Paths) -> bool {
    matches!(stored::load::<BootReport>(&paths.boot_report()), Ok(Some(report)) if report.stick)
}

/// What a person does who boots a stick whose seed invites nowhere.
pub(crate) const ADVICE: &str = "the stick's seed has no token that can be used; give it one on another computer: `meadow image seed DEVICE --token new`, and restart";

/// Whether the cluster takes this token no more, so that only a person can let this computer in.
pub(crate) fn is_spent(failure: &anyhow::Error) -> bool {
    let code = match failure.downcast_ref::<EnrolFailure>() {
        Some(EnrolFailure::Refused(problem)) => problem.code,
        _ => return false,
    };
    matches!(code, ProblemCode::InvalidToken | ProblemCode::TokenExpired | ProblemCode::TokenUsed)
}

/// Tells on the console what a seed wants that only a person can do.
pub(crate) fn announce(seed: &Seed, node: &Name, hardware: &Hardware, status: &SelfStatus) {
    let SeedAction::Install { serial } = &seed.action else { return };
    let command = format!("`meadow node install {node} --disk {serial}`");
    let there = hardware.disks.iter().any(|disk| disk.serial.as_deref() == Some(serial));
    status.event(if there {
        format!("the stick's seed wants this computer installed on the disk {serial}; do it with {command}")
    } else {
        format!("the stick's seed wants this computer installed on the disk {serial}, which is not there; {command} once it is")
    });
}

/// The seed's networks, as the record of an installed node has them.
pub(crate) fn own_network(seed: &Seed, hardware: &Hardware) -> Vec<StaticNetwork> {
    let mac_of = |name: &str| hardware.nics.iter().find(|nic| nic.name == name).map(|nic| nic.mac);
    let told = seed.network.iter().filter(|network| network.vlan.is_some() || network.address.is_some());
    let records = told.filter_map(|network| {
        let mac = match &network.card {
            CardChoice::Any => None,
            CardChoice::Mac(mac) => Some(*mac),
            // A card that is not there has no hardware address to write down.
            CardChoice::Name(name) => Some(mac_of(name)?),
        };
        let address = network.address.clone().unwrap_or_else(|| StaticNetwork::DHCP.to_owned());
        Some(StaticNetwork { mac, vlan: network.vlan, address, gateway: network.gateway, dns: Vec::new() })
    });
    records.collect()
}

#[cfg(test)]
mod tests {
    use meadow_host::files;
    use meadow_model::hardware::{Disk, Nic};
    use meadow_model::{Fingerprint, MacAddress, Secret};

    use super::*;

    fn hardware() -> Hardware {
        let nic = Nic {
            name: "eth0".to_owned(),
            mac: MacAddress([2, 0, 0, 0, 0, 1]),
            driver: None,
            speed_mbit: None,
            carrier: true,
        };
        let disk = Disk { serial: Some("S1".to_owned()), ..Disk::default() };
        Hardware { nics: vec![nic], disks: vec![disk], ..Hardware::default() }
    }

    #[test]
    fn only_a_whole_seed_with_a_token_invites() {
        let root = tempfile::tempdir().expect("a folder");
        let paths = Paths::below(root.path());
        assert!(seed(&paths).is_none());
        files::make_folder(&paths.run_dir(), files::Access::Private).expect("made");
        let token = JoinToken::from_random(Name::new("t-1").expect("valid"), Fingerprint([1; 32]), [2; 20]);
        let api = vec!["https://192.0.2.2:7443".to_owned()];
        let whole = Seed { token: Some(token.text()), api: api.clone(), ..Seed::new() };
        let broken = Seed { token: Some(Secret::new("nonsense".to_owned())), ..whole.clone() };
        for (seed, invites) in [(&whole, true), (&broken, false), (&Seed::new(), false)] {
            stored::save(&paths.seed(), seed).expect("saved");
            assert_eq!(
                invitation(&paths).map(|found| (found.token, found.cluster.api)),
                invites.then(|| (token.clone(), api.clone()))
            );
        }
    }

    #[test]
    fn the_record_of_an_installed_node_gets_the_networks() {
        let networks = ["eth0.7=192.0.2.7/24,192.0.2.1", "eth1=192.0.2.8/24", "eth0=dhcp", "*.8=dhcp"];
        let seed = Seed { network: networks.map(|text| text.parse().expect(text)).to_vec(), ..Seed::new() };
        let own = own_network(&seed, &hardware());
        let gateway = "192.0.2.1".parse().ok();
        let mac = Some(MacAddress([2, 0, 0, 0, 0, 1]));
        let fixed = StaticNetwork { mac, vlan: Some(7), address: "192.0.2.7/24".to_owned(), gateway, dns: Vec::new() };
        let dhcp =
            StaticNetwork { mac: None, vlan: Some(8), address: "dhcp".to_owned(), gateway: None, dns: Vec::new() };
        assert_eq!(own, [fixed, dhcp]);
    }

    #[test]
    fn an_installation_is_announced_and_left_to_a_person() {
        let status = SelfStatus::starting("0");
        let node = Name::new("node-1").expect("valid");
        announce(&Seed::new(), &node, &hardware(), &status);
        assert!(status.view().events.is_empty());
        for (serial, text) in
            [("S1", "do it with `meadow node install node-1 --disk S1`"), ("S2", "which is not there")]
        {
            let action = SeedAction::Install { serial: serial.to_owned() };
            announce(&Seed { action, ..Seed::new() }, &node, &hardware(), &status);
            assert!(status.view().events.last().is_some_and(|event| event.message.contains(text)));
        }
    }
}
