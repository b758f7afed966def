//! `meadow init`: the bootstrap configurator.

mod addresses;
mod defaults;
mod questions;
mod wire;

use std::path::Path;

use anyhow::Context as _;
use meadow_controllers::bootstrap::{self, Existing, InitConfig, InitReport};
use meadow_host::files;
use toml::Table;

use super::Context;
use crate::args::InitArgs;
use crate::exit::Failure;
use crate::output::{put, say};
use crate::prompt::Prompt;

/// Largest file of answers, in bytes.
const MAX_FILE: u64 = 256 * 1024;

pub(super) async fn run(context: &Context, args: &InitArgs) -> anyhow::Result<()> {
    let mut config = defaults::config().await;
    if let Some(root) = &args.root {
        config.root.clone_from(root);
    }
    let asks = match &args.file {
        Some(file) => {
            config = with_answers(&config, file)?;
            false
        }
        None if context.prompt.is_allowed() => true,
        None if args.dump => false,
        None => {
            let message = "there is nobody to ask; write the answers into a file: meadow init --dump > FILE, look at it, then meadow init --file FILE";
            return Err(Failure::usage(message).into());
        }
    };
    if !args.pxe_interfaces.is_empty() {
        config.pxe_interfaces.clone_from(&args.pxe_interfaces);
    }
    if asks {
        // What was given already is the answer that is offered.
        match bootstrap::existing(&config.root)? {
            Some(there) => ask_anew(context.prompt, &mut config, there)?,
            None => questions::ask(context.prompt, &mut config).await?,
        }
    }
    if args.dump {
        return put(&toml::to_string(&config)?);
    }
    if let Some(why) = no_image(&config) {
        say(&format!("warning: {why}"));
    }
    let report = bootstrap::init(&config)?;
    tell(&config, &report);
    Ok(())
}

/// Asks what may differ where the cluster is there: its settings stay, so nobody is asked for them.
fn ask_anew(prompt: Prompt, config: &mut InitConfig, there: Existing) -> anyhow::Result<()> {
    say(&format!(
        "The cluster {} is there already. Its settings stay as they are: edit {}, then restart meadowd. Only an admin's context is made anew.",
        there.cluster,
        there.path.display()
    ));
    config.cluster = there.cluster;
    config.pxe_interfaces = there.settings.pxe_interfaces;
    config.pxe_dhcp = there.settings.pxe_dhcp;
    config.pxe_files = there.settings.pxe_files;
    config.image_dir = there.settings.image_dir;
    if !there.settings.api_addresses.is_empty() {
        config.api_addresses = there.settings.api_addresses;
    }
    config.admin = questions::admin(prompt, &config.admin)?;
    Ok(())
}

/// Why no machine could boot yet, where machines are to boot.
fn no_image(config: &InitConfig) -> Option<String> {
    let manifest = config.image_dir.join("manifest.json");
    (!config.pxe_interfaces.is_empty() && !files::exists(&manifest)).then(|| {
        format!(
            "there is no {}, so no machine can boot: run `make image` and `make install`, or name the image's folder as image_dir",
            manifest.display()
        )
    })
}

/// The defaults with what the file says in their place. What opens something up must stand in the file.
fn with_answers(defaults: &InitConfig, file: &Path) -> anyhow::Result<InitConfig> {
    let defaults = InitConfig { pxe_interfaces: Vec::new(), authorized_keys: Vec::new(), ..defaults.clone() };
    let text = String::from_utf8(files::read(file, MAX_FILE)?).map_err(|_| not_answers(file, "it is not text"))?;
    let answers: Table = text.parse().map_err(|error: toml::de::Error| not_answers(file, &error.to_string()))?;
    let mut all = Table::try_from(&defaults).context("the defaults cannot be written as TOML")?;
    all.extend(answers);
    all.try_into().map_err(|error: toml::de::Error| not_answers(file, error.message()).into())
}

fn not_answers(file: &Path, why: &str) -> Failure {
    Failure::usage(format!("{}: {why}\n`meadow init --dump` shows the form", file.display()))
}

/// What a person has to know who gives no key.
const NO_SSH_KEYS: &str = "WARNING: no admin's SSH key was given. Until there is one, nodes with a state on a disk take their passphrase only at their own keyboard or serial line, `meadow unlock` does not reach them, and a start that fails can only be looked at there. Add one before there are nodes with: meadow cluster ssh-keys add FILE";

fn tell(config: &InitConfig, report: &InitReport) {
    let cluster = &config.cluster;
    if report.existed {
        say(&format!("The cluster {cluster} is there already; the context of {} was made anew.", config.admin));
    } else {
        say(&format!("The cluster {cluster} is made, with this computer as its node {}.", config.node));
    }
    say(&format!("  CA fingerprint  {}", report.ca_fingerprint));
    say(&format!("  Context         {} (holds a private key: keep it to yourself)", report.context.display()));
    say(&format!("  Settings        {}", report.settings.display()));
    // One that was there has its own, whatever the answers say now.
    if config.authorized_keys.is_empty() && !report.existed {
        say(NO_SSH_KEYS);
    }
    say("Next:");
    say("  systemctl enable --now meadowd   # start the agent");
    say("  meadow status                    # see how it is");
    if !config.pxe_interfaces.is_empty() {
        if config.pxe_open_s.is_none() {
            say(
                "  meadow pxe open --for 1h         # boot every machine that asks, or name one: meadow machine arm MAC",
            );
        }
        say("  meadow machine ls                # see the machines that booted, and approve them");
    } else {
        say("  meadow token create --out FILE   # let another computer join with `meadow join`");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &str) -> anyhow::Result<InitConfig> {
        let file =
            std::env::temp_dir().join(format!("meadow-init-{}-{:?}", std::process::id(), std::thread::current().id()));
        files::replace(&file, text.as_bytes(), files::Access::Private)?;
        let config = with_answers(&defaults::config().await, &file);
        files::remove(&file)?;
        config
    }

    #[tokio::test]
    async fn a_file_needs_to_say_only_what_differs() {
        let config = read("cluster = \"lab\"\npxe_open_s = 60\n").await.expect("read");
        assert_eq!((config.cluster.as_str(), config.pxe_open_s), ("lab", Some(60)));
        assert!(config.pxe_interfaces.is_empty(), "an interface that nobody named serves no machines");
        assert_eq!(config.image_dir, Path::new("/usr/share/meadow/image"));
    }

    #[tokio::test]
    async fn a_folder_without_an_image_is_told_where_machines_are_to_boot() {
        let missing = read("image_dir = \"/nonexistent\"\n").await.expect("read");
        assert_eq!(no_image(&missing), None, "nobody boots from here");
        let config = InitConfig { pxe_interfaces: vec!["eth0".to_owned()], ..missing };
        assert!(no_image(&config).is_some_and(|why| why.contains("/nonexistent/manifest.json")));
    }

    #[tokio::test]
    async fn what_is_dumped_is_read_as_the_same() {
        let config = defaults::config().await;
        assert_eq!(read(&toml::to_string(&config).expect("TOML")).await.expect("read"), config);
    }

    #[tokio::test]
    async fn several_interfaces_may_serve() {
        let config = read("pxe_interfaces = [\"eth0\", \"lan0.20\"]\n").await.expect("read");
        assert_eq!(config.pxe_interfaces, ["eth0", "lan0.20"]);
        assert_eq!(read(&toml::to_string(&config).expect("TOML")).await.expect("read"), config);
    }

    #[tokio::test]
    async fn giving_out_addresses_is_written_as_in_the_settings() {
        let text = "pxe_interface = \"eth0\"\npxe_files = \"/srv/boot\"\n[[pxe_dhcp]]\nsubnet = \"192.0.2.0/24\"\n\
                    pool = \"192.0.2.100-192.0.2.199\"\n[[pxe_dhcp.reservation]]\nmac = \"52:54:00:00:00:01\"\n\
                    address = \"192.0.2.9\"\n";
        let config = read(text).await.expect("read");
        assert_eq!((config.pxe_dhcp.len(), config.pxe_dhcp[0].reservations.len()), (1, 1));
        assert_eq!(config.pxe_files.as_deref(), Some(Path::new("/srv/boot")));
        assert_eq!(config.pxe_interfaces, ["eth0"]);
        assert_eq!(read(&toml::to_string(&config).expect("TOML")).await.expect("read"), config);
    }

    #[tokio::test]
    async fn slips_are_told_with_the_file() {
        for bad in [
            "cluser = \"lab\"\n",
            "cluster = \"NOT A NAME\"\n",
            "cluster = \n",
            "pxe_open_s = -1\n",
            "pxe_interfaces = 7\n",
        ] {
            let error = read(bad).await.expect_err("refused").to_string();
            assert!(error.contains("meadow-init-") && error.contains("--dump"), "{error}");
        }
    }
}
