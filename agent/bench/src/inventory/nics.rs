//! Network cards, from sysfs.

use std::collections::BTreeMap;
use std::path::Path;

use meadow_host::files;
use meadow_model::MacAddress;
use meadow_model::hardware::Nic;

use super::text::{attribute, flag};

/// No machine has more interfaces than this that anybody wants listed.
const MAX_INTERFACES: usize = 256;

/// Cards with a device behind them; bridges, bonds, tunnels and the like have none. `permanent` holds the addresses
/// that cards were made with, by interface, where the driver tells.
pub(super) fn read(root: &Path, permanent: &BTreeMap<String, MacAddress>) -> Vec<Nic> {
    let folder = root.join("sys/class/net");
    let names = files::list(&folder, MAX_INTERFACES).unwrap_or_default();
    names.iter().filter_map(|name| nic(&folder.join(name), name, permanent.get(name).copied())).collect()
}

fn nic(path: &Path, name: &str, permanent: Option<MacAddress>) -> Option<Nic> {
    if !files::exists(&path.join("device")) {
        return None;
    }
    let mac = permanent.or_else(|| attribute(&path.join("address"))?.parse().ok())?;
    let driver = files::resolve(&path.join("device/driver"));
    Some(Nic {
        name: name.to_owned(),
        mac,
        driver: driver.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())),
        // Drivers without a speed say -1, or refuse.
        speed_mbit: attribute(&path.join("speed"))
            .and_then(|speed| speed.parse().ok())
            .filter(|speed| *speed != u32::MAX),
        // Refused where the interface is down.
        carrier: flag(&path.join("carrier")),
    })
}
