//! The questions about giving out addresses, asked where nobody else does.

use std::net::Ipv4Addr;

use meadow_host::Cidr;
use meadow_pxe::netboot::dhcp::{LeaseConfig, LeaseServer};

use super::questions::{valid, words};
use super::wire::Found;
use crate::output::say;
use crate::prompt::Prompt;

/// Addresses that are proposed at most; a rack has fewer machines.
const PROPOSED: u32 = 100;

/// The subnet whose addresses are given out from here, if somebody wants that.
pub(super) fn ask(prompt: Prompt, found: &Found) -> anyhow::Result<Vec<LeaseConfig>> {
    let has_leases = match &found.survey {
        Ok(survey) => Ok(survey.has_leases()),
        Err(why) => Err(why.as_deref().unwrap_or("it has no link")),
    };
    let subnet = subnet_of(found);
    if let Some(why) = obstacle(&found.link.name, has_leases, subnet.is_some()) {
        say(&format!("  {why}"));
    }
    let Some((own, length)) = subnet.filter(|_| has_leases == Ok(false)) else { return Ok(Vec::new()) };
    let question = format!("Nobody gives out addresses on {}. Shall this computer do it?", found.link.name);
    if !prompt.confirm(&question, "write pxe_dhcp into the file of answers")? {
        return Ok(Vec::new());
    }
    let network = Cidr::new(own.into(), length)?.network();
    let with = |pool: &str| LeaseConfig { pool: pool.to_owned(), ..LeaseConfig::of(&network.to_string()) };
    let pool = |text: &str| {
        let config = with(text);
        LeaseServer::new(std::slice::from_ref(&config)).map(|_| config).map_err(|error| error.to_string())
    };
    let proposal = proposed_pool(own, length);
    let mut config = valid(prompt, "Addresses to give out, the first and the last", &proposal, pool)?;
    config.router = valid(prompt, "Router that machines are told, or none", "none", addresses)?;
    config.dns = valid(prompt, "Name servers that machines are told, or none", "none", addresses)?;
    Ok(vec![config])
}

/// Why nobody is asked, where the router is not the reason; and what to do.
fn obstacle(name: &str, has_leases: Result<bool, &str>, has_address: bool) -> Option<String> {
    match (has_leases, has_address) {
        (Ok(true), _) | (Ok(false), true) => None,
        (Ok(false), false) => Some(format!(
            "{name} has no IPv4 address, so no machine boots there and no address can be given out: end this (Ctrl-C), give {name} an address first (`ip addr add ADDRESS/24 dev {name}`), then run init again"
        )),
        (Err(why), false) => Some(format!(
            "{name} has no IPv4 address, and who gives out addresses there is not known ({why}): end this (Ctrl-C), give {name} an address and a link first (`ip addr add ADDRESS/24 dev {name}`), then run init again"
        )),
        (Err(why), true) => Some(format!(
            "who gives out addresses on {name} is not known ({why}), so this computer gives out none there; if nobody else does, mend that and run init again, or write pxe_dhcp into the settings later"
        )),
    }
}

/// This computer's own address there, and how much of it names the subnet.
fn subnet_of(found: &Found) -> Option<(Ipv4Addr, u8)> {
    found.link.routable_addresses().find_map(|cidr| match cidr.address() {
        std::net::IpAddr::V4(address) if (8..=30).contains(&cidr.length()) => Some((address, cidr.length())),
        _ => None,
    })
}

/// The end of the subnet: the beginning is where routers and computers with fixed addresses are. Our own address is left
/// out.
fn proposed_pool(own: Ipv4Addr, length: u8) -> String {
    let size = 1_u32 << (32 - u32::from(length));
    let (network, own) = (u32::from(own) & !(size - 1), u32::from(own));
    let last = network + size - 2;
    let first = last - (size / 2 - 1).min(PROPOSED) + 1;
    let (first, last) = match own {
        own if !(first..=last).contains(&own) => (first, last),
        // The larger part beside it.
        own if last - own > own - first => (own + 1, last),
        own => (first, own - 1),
    };
    format!("{}-{}", Ipv4Addr::from(first), Ipv4Addr::from(last))
}

fn addresses(text: &str) -> Result<Vec<Ipv4Addr>, String> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let read = |word: &str| word.parse::<Ipv4Addr>().map_err(|_| format!("{word} is not an IPv4 address"));
    words(text).map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proposed_pool_is_the_end_of_the_subnet_without_our_own_address() {
        for (own, length, expected) in [
            ([192, 0, 2, 2], 24, "192.0.2.155-192.0.2.254"),
            ([192, 0, 2, 200], 24, "192.0.2.201-192.0.2.254"),
            ([192, 0, 2, 254], 24, "192.0.2.155-192.0.2.253"),
            ([10, 0, 0, 1], 8, "10.255.255.155-10.255.255.254"),
            ([192, 0, 2, 1], 30, "192.0.2.2-192.0.2.2"),
        ] {
            let pool = proposed_pool(own.into(), length);
            assert_eq!(pool, expected, "{own:?}/{length}");
            let subnet = Cidr::new(Ipv4Addr::from(own).into(), length).expect("a subnet").network().to_string();
            let config = LeaseConfig { pool, ..LeaseConfig::of(&subnet) };
            assert!(LeaseServer::new(&[config]).is_ok(), "{own:?}/{length}");
        }
    }

    #[test]
    fn a_question_that_is_left_out_is_explained_unless_the_router_is_the_reason() {
        assert_eq!(obstacle("eth1", Ok(true), true), None);
        assert_eq!(obstacle("eth1", Ok(false), true), None, "it is asked");
        for left_out in [Ok(false), Err("it has no link")] {
            let why = obstacle("eth1", left_out, false).expect("said");
            assert!(why.contains("`ip addr add ADDRESS/24 dev eth1`") && why.contains("run init again"), "{why}");
        }
        assert!(obstacle("eth1", Err("no CAP_NET_RAW"), true).is_some_and(|why| why.contains("no CAP_NET_RAW")));
    }

    #[test]
    fn addresses_are_read_with_commas_or_blanks() {
        assert_eq!(addresses("none"), Ok(Vec::new()));
        assert_eq!(addresses("192.0.2.1, 192.0.2.3").map(|all| all.len()), Ok(2));
        assert!(addresses("router").is_err());
    }
}
