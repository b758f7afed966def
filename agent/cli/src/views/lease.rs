//! Addresses that the boot server gives out.

use meadow_model::boot::{LeaseState, PxeLease};

use super::now;
use crate::duration;
use crate::output::{Cell, Column, Tone, View};

impl View for PxeLease {
    fn reference(&self) -> String {
        format!("lease/{}", self.address)
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "ADDRESS", wide: false, cell: |l| l.address.to_string().into() },
            Column { title: "MAC", wide: false, cell: |l| mac(l).into() },
            Column { title: "HOSTNAME", wide: false, cell: |l| l.hostname.clone().unwrap_or_default().into() },
            Column { title: "STATE", wide: false, cell: state },
            Column { title: "EXPIRES", wide: false, cell: |l| expires(l).into() },
            Column { title: "RESERVED", wide: false, cell: |l| reserved(l).into() },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        vec![
            ("Address", self.address.to_string()),
            ("MAC", mac(self)),
            ("Hostname", self.hostname.clone().unwrap_or_default()),
            ("State", self.state.to_string()),
            ("Expires", expires(self)),
            ("Reserved", reserved(self).to_owned()),
        ]
    }
}

fn mac(lease: &PxeLease) -> String {
    lease.mac.map(|mac| mac.to_string()).unwrap_or_default()
}

fn state(lease: &PxeLease) -> Cell {
    let tone = match lease.state {
        LeaseState::Active => Tone::Good,
        LeaseState::SetAside => Tone::Caution,
        LeaseState::Offered | LeaseState::Ended | LeaseState::Reserved => Tone::Plain,
    };
    Cell { text: lease.state.to_string(), tone }
}

fn expires(lease: &PxeLease) -> String {
    match lease.expires {
        Some(at) if at > now() => format!("in {}", duration::left(now(), at)),
        Some(at) => format!("{} ago", duration::age(now(), at)),
        None => String::new(),
    }
}

fn reserved(lease: &PxeLease) -> &'static str {
    if lease.reserved { "yes" } else { "" }
}
