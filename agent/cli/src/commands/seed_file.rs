//! The file of `--seed`: what the options of a seed say, in TOML.

use std::path::{Path, PathBuf};

use meadow_host::files;
use meadow_model::Name;
use meadow_model::seed::SeedNetwork;
use serde::Deserialize;

use crate::args::ActionKind;
use crate::exit::Failure;

/// Longest such file, in bytes.
const MAX_FILE: u64 = 256 * 1024;

/// What a file says of a seed. It names the file of a token and holds none.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SeedFile {
    pub(super) token_file: Option<PathBuf>,
    pub(super) api: Vec<String>,
    #[serde(deserialize_with = "networks")]
    pub(super) network: Vec<SeedNetwork>,
    pub(super) ssh_keys: Vec<PathBuf>,
    pub(super) name: Option<Name>,
    pub(super) action: Option<ActionKind>,
    pub(super) disk: Option<String>,
}

impl SeedFile {
    /// Reads it; an empty one where none was named.
    pub(super) fn load(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let wrong = |why: String| Failure::usage(format!("{} is no seed: {why}", path.display()));
        let text = String::from_utf8(files::read(path, MAX_FILE)?).map_err(|_| wrong("it is not text".to_owned()))?;
        Ok(toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?)
    }
}

fn networks<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<SeedNetwork>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}
