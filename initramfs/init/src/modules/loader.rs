//! Loads modules for the devices that are there.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::Context;
use rustix::io::Errno;

use super::Index;
use crate::lock;

/// The modules of the running kernel, and which of them were loaded.
#[derive(Debug)]
pub struct Loader {
    root: PathBuf,
    index: Index,
    done: Mutex<HashSet<String>>,
}

impl Loader {
    /// Reads the index of the running kernel's modules.
    ///
    /// # Errors
    /// If the initramfs holds no modules for this kernel.
    pub fn open() -> anyhow::Result<Self> {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let root = Path::new("/lib/modules").join(&release);
        let read = |name: &str| {
            let path = root.join(name);
            fs::read_to_string(&path).with_context(|| {
                format!("cannot read {}: kernel {release} and initrd are not of the same image", path.display())
            })
        };
        let index = Index::parse(&read("modules.dep")?, &read("modules.alias")?, &read("modules.softdep")?);
        Ok(Self { root, index, done: Mutex::default() })
    }

    /// Loads what wants a device with this modalias, or the module of this name.
    ///
    /// # Errors
    /// The kernel's refusal of the last module that failed; the others were tried.
    pub fn load(&self, alias: &str) -> anyhow::Result<()> {
        let mut result = Ok(());
        for name in self.index.resolve(alias) {
            for file in self.index.load_order(name) {
                if let Err(error) = self.insert(file) {
                    result = Err(error);
                    break;
                }
            }
        }
        result
    }

    /// Loads for every device that has no driver yet. Failures are reported to `say`.
    pub fn load_for_devices(&self, say: impl Fn(String)) {
        let mut aliases: Vec<String> = Vec::new();
        for bus in directories(Path::new("/sys/bus")) {
            for device in directories(&bus.join("devices")) {
                if device.join("driver").exists() {
                    continue;
                }
                if let Ok(alias) = fs::read_to_string(device.join("modalias")) {
                    aliases.push(alias.trim_end().to_owned());
                }
            }
        }
        aliases.sort();
        aliases.dedup();
        for alias in aliases {
            if let Err(error) = self.load(&alias) {
                say(format!("{error:#}"));
            }
        }
    }

    fn insert(&self, file: &str) -> anyhow::Result<()> {
        if lock(&self.done).contains(file) {
            return Ok(());
        }
        let path = self.root.join(file);
        let opened = File::open(&path).with_context(|| format!("cannot open module {}", path.display()))?;
        match rustix::system::finit_module(&opened, c"", 0) {
            // EEXIST: loaded meanwhile, by another thread or on the kernel's own wish.
            Ok(()) | Err(Errno::EXIST) => {
                lock(&self.done).insert(file.to_owned());
                Ok(())
            }
            Err(error) => Err(error).with_context(|| format!("the kernel refused module {file}")),
        }
    }
}

fn directories(path: &Path) -> Vec<PathBuf> {
    fs::read_dir(path).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}
