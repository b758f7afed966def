//! The lines of "label: value".

use meadow_model::console::SelfView;

/// Addresses shown; a machine with more says how many there are.
const MAX_ADDRESSES: usize = 4;

/// What is known about the machine and its cluster; the label is empty where it is that of the line before.
pub(super) fn facts(view: &SelfView) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    match &view.cluster {
        Some(cluster) => facts.push(("Cluster", cluster.clone())),
        None => facts.push(("Cluster", "none".to_owned())),
    }
    facts.extend(view.ca_fingerprint.map(|ca| ("CA", ca.to_string())));
    facts.extend(view.api.first().map(|api| ("API", api.clone())));
    facts.extend(addresses(view));
    facts.extend(view.fingerprint.map(|fingerprint| ("Fingerprint", fingerprint.to_string())));
    facts
}

fn addresses(view: &SelfView) -> Vec<(&'static str, String)> {
    if view.addresses.is_empty() {
        return vec![("Addresses", "none yet: check the cable and the router".to_owned())];
    }
    let more = view.addresses.len().saturating_sub(MAX_ADDRESSES);
    let shown = if more == 0 { MAX_ADDRESSES } else { MAX_ADDRESSES - 1 };
    let name = view.addresses.iter().map(|a| a.interface.len()).max().unwrap_or(0).min(15);
    let lines = view.addresses.iter().take(shown);
    let lines = lines.map(|a| format!("{:name$}  {}/{}", a.interface, a.address, a.prefix_len));
    let rest = (more > 0).then(|| format!("and {} more", view.addresses.len() - shown));
    let labels = std::iter::once("Addresses").chain(std::iter::repeat(""));
    labels.zip(lines.chain(rest)).collect()
}
