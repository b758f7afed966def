//! Support bundles of a computer that runs the agent.

use std::fs::File;
use std::io::{self, BufWriter};

use meadow_host::files::{self, Access};
use meadow_host::{Clock, SystemClock};
use meadow_model::console::SelfView;
use meadow_model::install::DiskRequest;
pub use meadow_support::Entry;
use meadow_support::{Bundle, Secrets, gather};
use serde::Serialize;

use crate::disk_helper::DiskHelper;
use crate::paths::Paths;

/// Makes them.
#[derive(Clone, Debug)]
pub struct SupportBundles {
    /// This computer's files.
    pub paths: Paths,
    /// The helper that may write to sticks.
    pub disks: DiskHelper,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl SupportBundles {
    /// Makes one and writes it onto the stick with that serial number; the name of the file there.
    ///
    /// # Errors
    /// What goes wrong, for people.
    pub async fn save(
        &self,
        of: &str,
        stick: &str,
        view: SelfView,
        progress: impl FnMut(&str, Option<u8>),
    ) -> Result<String, Failure> {
        let disk = self.disks.ask(&DiskRequest::Look, |_, _| {}).await;
        let disk = disk.map_or_else(|error| text(&error.to_string()), |done| json(&done.disk));
        let more = vec![entry("agent/self.json", json(&view)), entry("disks/own-disk.json", disk)];
        let (name, paths) = (file_name(of), self.paths.clone());
        let folder = name.trim_end_matches(".tar.gz").to_owned();
        let packing = tokio::task::spawn_blocking(move || pack(&paths, &folder, more));
        packing.await??;
        let from = self.paths.support_bundle();
        let save =
            DiskRequest::SaveToStick { serial: stick.to_owned(), from: from.display().to_string(), name: name.clone() };
        let saved = self.disks.ask(&save, progress).await;
        files::remove(&from)?;
        saved?;
        Ok(name)
    }
}

/// What a bundle is called that is made now.
#[must_use]
pub fn file_name(of: &str) -> String {
    let now: String = SystemClock.wall().to_string().chars().filter(char::is_ascii_alphanumeric).take(15).collect();
    format!("meadow-support-{of}-{now}.tar.gz")
}

/// Gathers everything that this computer tells, and `more`, without its secrets.
#[must_use]
pub fn bundle(paths: &Paths, more: Vec<Entry>) -> Bundle {
    let secrets = Secrets::of(&[&paths.state_dir(), &paths.run_dir()]);
    let entries = more.into_iter().chain(gather(paths.root())).collect();
    Bundle::without(&secrets, entries)
}

fn pack(paths: &Paths, folder: &str, more: Vec<Entry>) -> io::Result<()> {
    let path = paths.support_bundle();
    // Private from the first moment.
    files::replace(&path, b"", Access::Private).map_err(io::Error::other)?;
    let seconds = u64::try_from(SystemClock.wall().as_millis() / 1000).unwrap_or(0);
    let file = File::options().write(true).truncate(true).open(&path)?;
    bundle(paths, more).pack(folder, seconds, BufWriter::new(file))
}

/// A file of a bundle.
#[must_use]
pub fn entry(name: &str, bytes: Vec<u8>) -> Entry {
    Entry { name: name.to_owned(), bytes }
}

/// A value as JSON that people can read.
#[must_use]
pub fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).unwrap_or_else(|error| text(&error.to_string()))
}

fn text(text: &str) -> Vec<u8> {
    format!("{text}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use data_encoding::BASE64;
    use meadow_enroll::{JoinToken, Ticket};
    use meadow_model::{Fingerprint, Name};

    use super::*;
    use crate::keys::Keys;

    #[test]
    fn no_secret_of_a_node_is_in_its_bundle() {
        let root = tempfile::tempdir().expect("a folder");
        let paths = Paths::below(root.path());
        for folder in [paths.state_dir(), paths.run_dir()] {
            files::make_folder(&folder, Access::Private).expect("made");
        }
        let keys = Keys::load_or_make(&paths.state()).expect("keys");
        let pem = String::clone(keys.identity.key_pem().expose());
        let token = JoinToken::from_random(Name::new("t-1").expect("valid"), Fingerprint([1; 32]), [2; 20]).text();
        let ticket = Ticket::from_random([3; 20]);
        let write =
            |path: PathBuf, text: String| files::replace(&path, text.as_bytes(), Access::Private).expect("written");
        write(paths.join_request(), format!("{{\"token\": \"{}\"}}", token.expose()));
        write(paths.seed(), format!("{{\"token\":\"{}\"}}", token.expose()));
        write(paths.boot_config(), format!("{{\"ticket\": \"{}\", \"version\": 1}}", ticket.text().expose()));

        let wireguard = *keys.wireguard.expose();
        let secrets = [
            pem.lines().nth(1).expect("a body").to_owned(),
            BASE64.encode(&wireguard),
            data_encoding::HEXLOWER.encode(&wireguard),
            token.expose().clone(),
            ticket.text().expose().clone(),
        ];
        // As if a program had written all of them into its log.
        let log = entry("journal/careless.txt", [pem, secrets.join("\n")].join("\n").into_bytes());
        let bundle = bundle(&paths, vec![log, entry("agent/self.json", json(&"public"))]);
        for found in bundle.entries() {
            let text = String::from_utf8_lossy(&found.bytes);
            for secret in &secrets {
                assert!(!text.contains(secret.as_str()), "{} holds a secret", found.name);
            }
            assert!(!found.bytes.windows(32).any(|bytes| bytes == wireguard), "{} holds the mesh key", found.name);
        }
        let named = |name: &str| bundle.entries().iter().find(|entry| entry.name == name).expect("there").bytes.clone();
        assert_eq!(named("agent/self.json"), b"\"public\"");
        assert!(String::from_utf8_lossy(&named("state/files.txt")).contains("wireguard.key"), "listed, not read");
    }

    #[test]
    fn the_name_tells_whose_and_when() {
        let name = file_name("node-1");
        assert!(name.starts_with("meadow-support-node-1-20") && name.ends_with(".tar.gz") && name.len() < 64, "{name}");
    }
}
