//! The index that `depmod` wrote when the initramfs was built.

use std::collections::HashMap;

use super::matches;

/// Names, files, dependencies and aliases of the modules at hand.
#[derive(Debug, Default)]
pub struct Index {
    modules: HashMap<String, Module>,
    aliases: Vec<(String, String)>,
    before: HashMap<String, Vec<String>>,
}

#[derive(Debug)]
struct Module {
    path: String,
    /// Paths of what it needs, the nearest first.
    needs: Vec<String>,
}

impl Index {
    /// Reads `modules.dep`, `modules.alias` and `modules.softdep` (see depmod's manual).
    #[must_use]
    pub fn parse(dep: &str, alias: &str, softdep: &str) -> Self {
        let mut index = Self::default();
        for (path, needs) in dep.lines().filter_map(|line| line.split_once(':')) {
            let needs = needs.split_whitespace().map(str::to_owned).collect();
            index.modules.insert(name_of(path), Module { path: path.to_owned(), needs });
        }
        for line in alias.lines() {
            if let ["alias", pattern, module] = words(line).as_slice() {
                index.aliases.push(((*pattern).to_owned(), normalized(module)));
            }
        }
        for line in softdep.lines() {
            if let ["softdep", module, rest @ ..] = words(line).as_slice() {
                index.before.insert(normalized(module), before(rest));
            }
        }
        index
    }

    /// The modules that want a device with this modalias, or the module of this very name.
    #[must_use]
    pub fn resolve(&self, alias: &str) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        if let Some((name, _)) = self.modules.get_key_value(&normalized(alias)) {
            names.push(name);
        }
        for (pattern, name) in &self.aliases {
            if !names.contains(&name.as_str()) && same_bus(pattern, alias) && matches(pattern, alias) {
                names.push(name);
            }
        }
        names
    }

    /// Files to load for a module, in the order to load them; empty if it is not at hand.
    #[must_use]
    pub fn load_order(&self, name: &str) -> Vec<&str> {
        let mut order = Vec::new();
        for early in self.before.get(name).into_iter().flatten() {
            self.append(early, &mut order);
        }
        self.append(name, &mut order);
        order
    }

    fn append<'a>(&'a self, name: &str, order: &mut Vec<&'a str>) {
        let Some(module) = self.modules.get(name) else { return };
        let files = module.needs.iter().rev().chain([&module.path]);
        for file in files.map(String::as_str) {
            if !order.contains(&file) {
                order.push(file);
            }
        }
    }
}

/// Cheap first look: what stands before the colon names the bus.
fn same_bus(pattern: &str, alias: &str) -> bool {
    let first = |text: &str| text.bytes().next();
    matches!(first(pattern), Some(b'*' | b'?' | b'[')) || first(pattern) == first(alias)
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// What a `softdep` line wants loaded first.
fn before(words: &[&str]) -> Vec<String> {
    let mut pre = false;
    let mut names = Vec::new();
    for word in words {
        match *word {
            "pre:" => pre = true,
            "post:" => pre = false,
            name if pre => names.push(normalized(name)),
            _ => {}
        }
    }
    names
}

/// `kernel/drivers/net/dm-mod.ko` → `dm_mod`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    normalized(file.split('.').next().unwrap_or(file))
}

/// Module names treat `-` as `_`.
fn normalized(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        Index::parse(
            "kernel/net/virtio_net.ko: kernel/net/net_failover.ko kernel/net/failover.ko\n\
             kernel/net/net_failover.ko: kernel/net/failover.ko\n\
             kernel/net/failover.ko:\n\
             kernel/net/r8169.ko: kernel/phy/libphy.ko\n\
             kernel/phy/realtek.ko: kernel/phy/libphy.ko\n\
             kernel/phy/libphy.ko:\n\
             kernel/md/dm-mod.ko:\n",
            "# comment\nalias virtio:d00000001v* virtio_net\n\
             alias pci:v000010ECd00008168sv*sd*bc*sc*i* r8169\n\
             alias mdio:0000000000011100110010010001???? realtek\n\
             alias fs-nothing absent\n",
            "# comment\nsoftdep r8169 pre: realtek post: other\nsoftdep virtio_net post: late\n",
        )
    }

    #[test]
    fn dependencies_come_first() {
        let index = index();
        assert_eq!(
            index.load_order("virtio_net"),
            ["kernel/net/failover.ko", "kernel/net/net_failover.ko", "kernel/net/virtio_net.ko"]
        );
        assert_eq!(index.load_order("r8169"), ["kernel/phy/libphy.ko", "kernel/phy/realtek.ko", "kernel/net/r8169.ko"]);
        assert!(index.load_order("absent").is_empty());
    }

    #[test]
    fn resolves_devices_and_names() {
        let index = index();
        assert_eq!(index.resolve("virtio:d00000001v00001AF4"), ["virtio_net"]);
        assert_eq!(index.resolve("mdio:00000000000111001100100100010110"), ["realtek"]);
        assert_eq!(index.resolve("dm-mod"), ["dm_mod"]);
        assert!(index.resolve("pci:v0000FFFF").is_empty());
    }
}
