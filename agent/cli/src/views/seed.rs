//! Seeds of sticks, without their secrets.

use meadow_enroll::JoinToken;
use meadow_model::seed::{Seed, SeedAction};
use meadow_model::{Name, Timestamp};
use serde::Serialize;

use crate::output::{Column, View};

/// A seed as it is shown: the token by its id only.
#[derive(Debug, Serialize)]
pub(crate) struct ShownSeed {
    kind: &'static str,
    name: Option<Name>,
    api: Vec<String>,
    token: Option<String>,
    token_expires: Option<Timestamp>,
    authorized_keys: Vec<String>,
    network: Vec<String>,
    action: SeedAction,
}

impl ShownSeed {
    /// Without the secret.
    pub(crate) fn of(seed: &Seed) -> Self {
        let id = |text: &String| text.parse::<JoinToken>().map_or_else(|_| "damaged".to_owned(), |t| t.id.to_string());
        Self {
            kind: "Seed",
            name: seed.name.clone(),
            api: seed.api.clone(),
            token: seed.token.as_ref().map(|token| id(token.expose())),
            token_expires: seed.token_expires,
            authorized_keys: seed.authorized_keys.clone(),
            network: seed.network.iter().map(ToString::to_string).collect(),
            action: seed.action.clone(),
        }
    }

    /// One sentence.
    pub(crate) fn in_words(&self) -> String {
        let joins = match (&self.token, self.api.as_slice()) {
            (Some(_), api) => format!("joins the cluster at {} {}", api.join(", "), self.token_in_words()),
            (None, []) => "waits for a server on its LAN, or for another seed".to_owned(),
            (None, api) => format!("knows {} and has no token", api.join(", ")),
        };
        format!("the computer {}, and {joins}.", self.action_in_words())
    }

    fn action_in_words(&self) -> String {
        match &self.action {
            SeedAction::Live => "runs from the stick".to_owned(),
            SeedAction::Network => "runs the image of a boot server, or the stick's own where there is none".to_owned(),
            SeedAction::Install { serial } => {
                format!("runs from the stick and waits to be installed on the disk {serial}")
            }
        }
    }

    fn token_in_words(&self) -> String {
        match (&self.token, self.token_expires) {
            (None, _) => "none".to_owned(),
            (Some(id), None) => format!("by the token {id}"),
            (Some(id), Some(expires)) => format!("by the token {id}, until {expires}"),
        }
    }
}

impl View for ShownSeed {
    fn reference(&self) -> String {
        "seed".to_owned()
    }

    fn columns() -> &'static [Column<Self>] {
        &[
            Column { title: "NAME", wide: false, cell: |s| s.name.as_ref().map(Name::as_str).unwrap_or("-").into() },
            Column { title: "API", wide: false, cell: |s| s.api.join(",").into() },
            Column { title: "TOKEN", wide: false, cell: |s| s.token.as_deref().unwrap_or("-").into() },
            Column { title: "NETWORK", wide: false, cell: |s| s.network.join(" ").into() },
            Column { title: "ACTION", wide: false, cell: |s| s.action_in_words().into() },
        ]
    }

    fn describe(&self) -> Vec<(&'static str, String)> {
        let mut lines =
            vec![("Does", self.action_in_words()), ("API", self.api.join(", ")), ("Token", self.token_in_words())];
        lines.extend(self.name.iter().map(|name| ("Name", name.to_string())));
        lines.extend(self.network.iter().map(|network| ("Network", network.clone())));
        lines.extend(self.authorized_keys.iter().map(|key| ("SSH key", key.clone())));
        lines
    }
}
