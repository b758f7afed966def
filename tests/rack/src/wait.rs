//! Waiting for a condition.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::interrupt;

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(100);

/// Looks at `condition` until it gives a value.
///
/// # Errors
/// When `limit` has passed, with `what` in the text; when the condition fails; when the user interrupts.
pub fn until<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        interrupt::check()?;
        if Instant::now() > deadline {
            bail!("{what}: not within {} s", limit.as_secs());
        }
        std::thread::sleep(STEP);
    }
}
