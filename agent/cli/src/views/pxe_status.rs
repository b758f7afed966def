//! The PXE server.

use meadow_model::boot::{PxeCounters, PxeInterface, PxeStatus};

use super::now;
use crate::duration;
use crate::output::{Cell, Column, Tone, View};

impl View for PxeStatus {
    fn reference(&self) -> String {
        "pxe".to_owned()
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "SERVING", wide: false, cell: serving },
            Column { title: "INTERFACES", wide: false, cell: |p| served(p).join("; ").into() },
            Column { title: "WINDOW", wide: false, cell: |p| window(p).into() },
            Column {
                title: "PROBLEMS",
                wide: false,
                cell: |p| p.all_problems().cloned().collect::<Vec<_>>().join("; ").into(),
            },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![("Serving", serving(self).text)];
        lines.extend(served(self).into_iter().map(|line| ("Interface", line)));
        if self.interfaces.is_empty() {
            lines.push(("Interface", "none".to_owned()));
        }
        lines.push(("Window", window(self)));
        if let Some(counters) = &self.counters {
            lines.extend(counted(counters));
        }
        lines.extend(self.all_problems().map(|problem| ("Problem", problem.clone())));
        lines
    }
}

fn serving(status: &PxeStatus) -> Cell {
    if status.serving {
        Cell { text: "yes".to_owned(), tone: Tone::Good }
    } else {
        Cell { text: "no".to_owned(), tone: Tone::Bad }
    }
}

/// A line for each interface.
fn served(status: &PxeStatus) -> Vec<String> {
    let line = |interface: &PxeInterface| match &interface.base_url {
        Some(url) if interface.leases => format!("{} at {url}, gives out addresses", interface.name),
        Some(url) => format!("{} at {url}", interface.name),
        None => format!("{} is waited for", interface.name),
    };
    status.interfaces.iter().map(line).collect()
}

fn window(status: &PxeStatus) -> String {
    match status.open_until {
        Some(until) if until > now() => {
            format!("open, {} left: every machine that asks is booted", duration::left(now(), until))
        }
        _ => "closed: only machines that were named are booted".to_owned(),
    }
}

/// The numbers that tell whether it works; `-o json` has them all.
fn counted(counters: &PxeCounters) -> [(&'static str, String); 4] {
    let c = counters;
    let offers = in_words(&[
        ("direct", c.offers_direct),
        ("boot-server", c.offers_boot_server),
        ("both forms", c.offers_both),
        ("http", c.offers_http),
        ("ipxe", c.offers_ipxe),
        ("initrd", c.offers_initrd),
    ]);
    let dropped = in_words(&[
        ("malformed", c.dropped_malformed),
        ("too large", c.dropped_too_large),
        ("not for us", c.dropped_not_for_us),
        ("to be left alone", c.dropped_left_alone),
        ("file missing", c.dropped_no_file),
        ("no address left", c.dropped_pool_empty),
        ("disk busy", c.dropped_disk_busy),
        ("too many by relays", c.dropped_too_many),
    ]);
    let dhcp = format!("{} packets, {} offers{offers}, {} dropped{dropped}", c.dhcp_packets, c.offers(), c.dropped());
    let tftp = format!("{} files, {} failed, {} MB", c.tftp_complete, c.tftp_failed, c.tftp_bytes / 1_000_000);
    let http = format!("{} files, {} failed, {} MB", c.http_files, c.http_failed, c.http_bytes / 1_000_000);
    let leases = format!("{} given or renewed, {} refused", c.leases_given, c.leases_refused);
    [("DHCP", dhcp), ("Leases", leases), ("TFTP", tftp), ("HTTP", http)]
}

/// ` (a 1, b 2)` of the numbers that are not zero.
fn in_words(parts: &[(&str, u64)]) -> String {
    let words: Vec<String> = parts.iter().filter(|part| part.1 > 0).map(|(name, n)| format!("{name} {n}")).collect();
    if words.is_empty() { String::new() } else { format!(" ({})", words.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_happen_is_left_out() {
        let counters = PxeCounters { dhcp_packets: 5, offers_ipxe: 2, dropped_left_alone: 3, ..PxeCounters::default() };
        let [(_, dhcp), ..] = counted(&counters);
        assert_eq!(dhcp, "5 packets, 2 offers (ipxe 2), 3 dropped (to be left alone 3)");
    }
}
