//! What keeps machines from booting over the network, looked at from here.

use std::path::Path;

use meadow_host::files;
use meadow_model::boot::PxeCheck;
use meadow_pxe::{ArtifactState, InterfaceStatus, Problem, PxeHandle};

/// Full blocks of TFTP and full segments of HTTP need it; firmware puts no fragments together.
const LEAST_MTU: u32 = 1500;
/// Bytes of what the kernel says of an interface.
const LONGEST_FACT: u64 = 64;

/// Looks at everything, in the order in which a boot needs it: each interface, then what they share. Blocks while nft(8) runs.
pub(crate) fn checks(handle: &PxeHandle) -> Vec<PxeCheck> {
    let mut checks: Vec<_> = handle.interfaces().iter().flat_map(of_interface).collect();
    let problems = handle.problems();
    checks.extend([
        of_problems("addresses", "nothing is wrong with giving out addresses", &problems, |code| {
            matches!(code, "pxe.dhcp-subnet" | "pxe.lease-file")
        }),
        image(handle),
        of_problems("other images", "every image that a machine is to boot is whole", &problems, |code| {
            code == "pxe.image"
        }),
        firewall(meadow_pxe::firewall()),
        heard(handle),
    ]);
    checks
}

/// The checks of one interface, named after it.
fn of_interface(status: &InterfaceStatus) -> Vec<PxeCheck> {
    let InterfaceStatus { name, problems, .. } = status;
    let facts = Facts::of(Path::new("/sys/class/net"), name);
    let checks = [
        facts.there(name),
        facts.cable(name),
        address(status),
        facts.mtu(name),
        of_problems("ports", "all ports are served", problems, |code| matches!(code, "pxe.port-taken" | "pxe.socket")),
        of_problems("other servers", "no other server was heard that is in the way", problems, |code| {
            code.starts_with("pxe.other-")
        }),
    ];
    checks.into_iter().map(|check| PxeCheck { name: format!("{name}: {}", check.name), ..check }).collect()
}

/// What the kernel says of the interface.
struct Facts {
    there: bool,
    carrier: bool,
    mtu: Option<u32>,
}

impl Facts {
    fn of(folder: &Path, interface: &str) -> Self {
        let read = |name: &str| {
            let bytes = files::read(&folder.join(interface).join(name), LONGEST_FACT).ok()?;
            String::from_utf8(bytes).ok()
        };
        Self {
            there: folder.join(interface).exists(),
            carrier: read("carrier").is_some_and(|text| text.trim() == "1"),
            mtu: read("mtu").and_then(|text| text.trim().parse().ok()),
        }
    }

    fn there(&self, interface: &str) -> PxeCheck {
        check("interface", self.there, format!("{interface} is there"), || {
            (
                format!("there is no interface {interface}"),
                "see `ip link`, and correct pxe_interfaces in the settings".to_owned(),
            )
        })
    }

    fn cable(&self, interface: &str) -> PxeCheck {
        check("cable", self.carrier, format!("{interface} has a link"), || {
            (format!("{interface} has no link"), format!("put its cable in, or `ip link set {interface} up`"))
        })
    }

    fn mtu(&self, interface: &str) -> PxeCheck {
        let mtu = self.mtu.unwrap_or(0);
        check("packet size", mtu >= LEAST_MTU, format!("{interface} takes packets of {mtu} bytes"), || {
            let why = format!("{interface} takes packets of {mtu} bytes only; boot ROMs need {LEAST_MTU}");
            (why, format!("`ip link set {interface} mtu {LEAST_MTU}`"))
        })
    }
}

fn address(status: &InterfaceStatus) -> PxeCheck {
    let InterfaceStatus { name: interface, address, .. } = status;
    let fine = address.map(|address| format!("machines are told {address}")).unwrap_or_default();
    check("address", address.is_some(), fine, || {
        let why = format!("{interface} has no IPv4 address that machines could be told");
        (why, format!("give it one, by the router's DHCP or `ip addr add … dev {interface}`"))
    })
}

/// A check that fails with the problems that the server has of these codes; their texts say what to do.
fn of_problems(name: &str, fine: &str, problems: &[Problem], concerns: fn(&str) -> bool) -> PxeCheck {
    let found = problems.iter().filter(|problem| concerns(problem.code));
    let found: Vec<&str> = found.map(|problem| problem.text.as_str()).collect();
    check(name, found.is_empty(), fine.to_owned(), || (found.join("; "), String::new()))
}

fn image(handle: &PxeHandle) -> PxeCheck {
    let artifacts = handle.artifacts();
    let bad = artifacts.iter().find(|artifact| !matches!(artifact.state, ArtifactState::Ready));
    let whole = !artifacts.is_empty() && bad.is_none();
    check("image", whole, format!("all {} files of the image are whole", artifacts.len()), || {
        let why = match bad {
            Some(artifact) => format!("{} of the image cannot be served yet, or at all", artifact.name),
            None => "there is no image".to_owned(),
        };
        (why, "`meadow pxe status` says why; `make install` lays the image there".to_owned())
    })
}

/// A packet filter of this computer, as far as it can be asked.
fn firewall(found: Option<String>) -> PxeCheck {
    let fine = "no packet filter that drops what it does not know was found on this computer".to_owned();
    check("firewall", found.is_none(), fine, || {
        (found.unwrap_or_default(), "`nft list ruleset` shows all of it".to_owned())
    })
}

/// What shows the rest of the way: that somebody was heard. Before that nothing is wrong.
fn heard(handle: &PxeHandle) -> PxeCheck {
    let machines = handle.machines().len();
    let (text, next_step) = if machines > 0 {
        (format!("{machines} machines were heard, so DHCP comes in"), None)
    } else {
        let step = "switch one on that boots over the network; if it stays so, look at the switch between the two, and at \
                    firewalls: UDP 67, 69 and 4011 and TCP 7480 have to come in";
        ("no machine was heard yet".to_owned(), Some(step.to_owned()))
    };
    PxeCheck { name: "machines".to_owned(), ok: true, text, next_step }
}

fn check(name: &str, ok: bool, fine: String, bad: impl FnOnce() -> (String, String)) -> PxeCheck {
    let (text, next_step) = if ok { (fine, String::new()) } else { bad() };
    let next_step = Some(next_step).filter(|step| !step.is_empty());
    PxeCheck { name: name.to_owned(), ok, text, next_step }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_firewall_is_a_fault_and_none_is_none() {
        assert!(firewall(None).ok);
        let dropping = firewall(Some("table inet filter drops".to_owned()));
        assert!(!dropping.ok && dropping.text.contains("inet filter") && dropping.next_step.is_some());
    }

    #[test]
    fn what_the_kernel_says_of_an_interface() {
        let folder = tempfile::tempdir().expect("a folder");
        let card = folder.path().join("eth0");
        std::fs::create_dir(&card).expect("made");
        files::replace(&card.join("carrier"), b"1\n", files::Access::Public).expect("written");
        files::replace(&card.join("mtu"), b"1280\n", files::Access::Public).expect("written");
        let facts = Facts::of(folder.path(), "eth0");
        assert!(facts.there("eth0").ok && facts.cable("eth0").ok);
        let mtu = facts.mtu("eth0");
        assert!(!mtu.ok && mtu.next_step.is_some_and(|step| step.contains("mtu 1500")));
        let none = Facts::of(folder.path(), "eth1");
        assert!(!none.there("eth1").ok && !none.cable("eth1").ok && none.cable("eth1").next_step.is_some());
    }
}
