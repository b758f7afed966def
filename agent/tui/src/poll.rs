//! Asking the agent.

use meadow_client::Client;
use meadow_host::Clock;

use crate::page::{Page, Silence};

/// Asks once and brings the page up to date: what the agent says, or since when it says nothing, with what it said last
/// below.
pub async fn update(page: &mut Page, client: &Client, clock: &dyn Clock) {
    match client.self_view().await {
        Ok(view) => *page = Page { view: Some(view), silence: None },
        Err(error) => {
            let since = page.silence.as_ref().map_or_else(|| clock.wall(), |silence| silence.since);
            page.silence = Some(Silence { since, why: error.to_string() });
        }
    }
}
