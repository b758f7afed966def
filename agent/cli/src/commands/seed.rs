//! `meadow image seed`, and the seed of `meadow image flash`.

use std::path::Path;

use meadow_client::Endpoint;
use meadow_enroll::JoinToken;
use meadow_host::files;
use meadow_model::Secret;
use meadow_model::seed::{Seed, SeedAction};
use meadow_model::token::TokenRequest;
use meadow_stick::SeedArea;

use super::seed_file::SeedFile;
use super::{Context, join};
use crate::args::{ActionKind, SeedArgs, SeedOptions};
use crate::exit::{Exit, Failure};
use crate::output::{print_changed, print_one, say};
use crate::session;
use crate::views::ShownSeed;

/// Longest file of public keys, in bytes.
const MAX_KEYS: u64 = 256 * 1024;

pub(super) async fn run(context: &Context, args: &SeedArgs) -> anyhow::Result<()> {
    let silent = args.seed.is_silent();
    if args.show && !silent {
        return Err(Failure::usage("--show changes nothing; leave out the other options, or --show").into());
    }
    if args.clear && !silent {
        return Err(Failure::usage("--clear takes the whole seed away; leave out the other options, or --clear").into());
    }
    if silent && !args.clear {
        let Some(seed) = SeedArea::open_to_read(&args.stick)?.read()? else {
            let message =
                format!("{} has no seed; give it one with `meadow image seed`, see --help", args.stick.display());
            return Err(Failure::new(Exit::NotFound, message).into());
        };
        return print_one(&args.output.output, &ShownSeed::of(&seed));
    }
    let area = SeedArea::open(&args.stick)?;
    if args.clear {
        area.write(None)?;
        say(&format!("{} has no seed any more.", args.stick.display()));
        return Ok(());
    }
    // One that cannot be read is replaced whole.
    let wish = SeedWish::new(area.read().ok().flatten(), &args.seed)?;
    let seed = wish.complete(context).await?;
    area.write(Some(&seed))?;
    let shown = ShownSeed::of(&seed);
    say(&format!("{}: {}", args.stick.display(), shown.in_words()));
    print_changed(&args.output.output, &shown)
}

/// A seed that lacks nothing but what the cluster gives.
pub(super) struct SeedWish<'a> {
    seed: Seed,
    options: &'a SeedOptions,
    /// Whether somebody named keys.
    keys: bool,
}

impl<'a> SeedWish<'a> {
    /// What the options and their file say, over the seed that is there.
    pub(super) fn new(old: Option<Seed>, options: &'a SeedOptions) -> anyhow::Result<Self> {
        let file = SeedFile::load(options.seed.as_deref())?;
        let mut seed = old.unwrap_or_default();
        seed.version = meadow_model::seed::VERSION;
        let token_file = options.token_file.as_ref().or(file.token_file.as_ref().filter(|_| options.token.is_none()));
        if let Some(path) = token_file {
            seed.token = Some(read_token(path)?);
            seed.token_expires = None;
        }
        let api = if options.api.is_empty() { &file.api } else { &options.api };
        if !api.is_empty() {
            seed.api =
                api.iter().map(|text| Ok(text.parse::<Endpoint>()?.to_string())).collect::<anyhow::Result<_>>()?;
        }
        let network = if options.network.is_empty() { &file.network } else { &options.network };
        if !network.is_empty() {
            seed.network.clone_from(network);
        }
        let keys = if options.ssh_keys.is_empty() { &file.ssh_keys } else { &options.ssh_keys };
        if !keys.is_empty() {
            seed.authorized_keys =
                keys.iter().map(|path| read_keys(path)).collect::<anyhow::Result<Vec<_>>>()?.concat();
        }
        seed.name = options.name.clone().or(file.name).or(seed.name);
        let disk = options.disk.clone().or(file.disk);
        if let Some(action) = action(options.action.or(file.action), disk, &seed.action)? {
            seed.action = action;
        }
        let wish = Self { seed, options, keys: !keys.is_empty() };
        if wish.options.token.is_none() {
            wish.seed.check()?;
        }
        Ok(wish)
    }

    /// The seed, with a new token where one is wanted.
    pub(super) async fn complete(mut self, context: &Context) -> anyhow::Result<Seed> {
        if self.options.token.is_some() {
            self.ask_cluster(context).await?;
        }
        self.seed.check()?;
        if self.seed.api.iter().any(|api| is_of_this_computer(api)) {
            say("warning: an address of the API is good on this computer only; give another one with --api");
        }
        Ok(self.seed)
    }

    async fn ask_cluster(&mut self, context: &Context) -> anyhow::Result<()> {
        let client = context.connect()?;
        if self.seed.api.is_empty() {
            self.seed.api = session::addresses(&context.connection)?;
            if self.seed.api.is_empty() {
                self.seed.api = client.self_view().await?.api;
            }
        }
        if self.seed.api.is_empty() {
            return Err(Failure::usage("the address of the cluster's API is not known here; give it with --api").into());
        }
        if !self.keys && self.seed.authorized_keys.is_empty() {
            self.seed.authorized_keys = client.cluster().await?.spec.authorized_keys;
        }
        let request = TokenRequest { ttl_s: Some(self.options.expires), uses: Some(self.options.uses) };
        let new = client.create_token(&request).await?;
        self.seed.token_expires = Some(new.token.spec.expires);
        self.seed.token = Some(new.text.clone());
        Ok(())
    }
}

fn action(kind: Option<ActionKind>, disk: Option<String>, before: &SeedAction) -> anyhow::Result<Option<SeedAction>> {
    let installs = matches!(before, SeedAction::Install { .. });
    match (kind, disk) {
        (None, None) => Ok(None),
        (Some(ActionKind::Live), None) => Ok(Some(SeedAction::Live)),
        (Some(ActionKind::Network), None) => Ok(Some(SeedAction::Network)),
        (Some(ActionKind::Install), Some(serial)) => Ok(Some(SeedAction::Install { serial })),
        (None, Some(serial)) if installs => Ok(Some(SeedAction::Install { serial })),
        (Some(ActionKind::Install), None) => {
            Err(Failure::usage("--action install needs the disk that is meant; give its serial number with --disk")
                .into())
        }
        (_, Some(_)) => Err(Failure::usage("--disk goes with --action install").into()),
    }
}

/// Checked before anything is written: a stick whose token is none would be found out far away.
fn read_token(path: &Path) -> anyhow::Result<Secret<String>> {
    let token = join::read_token(path)?;
    token.expose().parse::<JoinToken>().map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
    Ok(token)
}

fn read_keys(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = String::from_utf8(files::read(path, MAX_KEYS)?);
    let text = text.map_err(|_| Failure::usage(format!("{} holds no public keys", path.display())))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

fn is_of_this_computer(api: &str) -> bool {
    let host = api.parse::<Endpoint>().map(|endpoint| endpoint.host).unwrap_or_default();
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_goes_with_an_installation() {
        let live = SeedAction::Live;
        let install = |serial: &str| SeedAction::Install { serial: serial.to_owned() };
        let disk = |serial: &str| Some(serial.to_owned());
        assert_eq!(action(None, None, &live).expect("sound"), None);
        assert_eq!(action(Some(ActionKind::Install), disk("S1"), &live).expect("sound"), Some(install("S1")));
        assert_eq!(action(None, disk("S2"), &install("S1")).expect("sound"), Some(install("S2")));
        for (kind, serial) in
            [(None, disk("S1")), (Some(ActionKind::Live), disk("S1")), (Some(ActionKind::Install), None)]
        {
            assert!(action(kind, serial, &live).is_err());
        }
    }

    #[test]
    fn addresses_that_lead_nowhere_else() {
        assert!(is_of_this_computer("https://127.0.0.1:7443") && is_of_this_computer("https://[::1]:7443"));
        assert!(!is_of_this_computer("https://192.0.2.2:7443") && !is_of_this_computer("https://seed:7443"));
    }
}
