//! Asking the agent.

use meadow_client::{Client, ListAll};
use meadow_host::Clock;

use crate::page::{Boots, Page, Silence};

/// Asks once and brings the page up to date: what the agent says, or since when it says nothing, with what it said last
/// below.
pub async fn update(page: &mut Page, client: &Client, clock: &dyn Clock) {
    match client.self_view().await {
        Ok(view) => {
            // Only a voter has a boot server.
            let boots = if view.voters.is_some() { boots(client).await } else { None };
            *page = Page { view: Some(view), boots, silence: None };
        }
        Err(error) => {
            let since = page.silence.as_ref().map_or_else(|| clock.wall(), |silence| silence.since);
            page.silence = Some(Silence { since, why: error.to_string() });
        }
    }
}

/// What the boot server says, where an interface is served.
async fn boots(client: &Client) -> Option<Boots> {
    let status = client.pxe().await.ok()?;
    if status.interfaces.is_empty() && status.problems.is_empty() {
        return None;
    }
    let machines = client.pxe_boots(&ListAll::default()).await.ok()?.items;
    Some(Boots { status, machines })
}
