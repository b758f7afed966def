//! Prints the inventory and the first measures of this machine as JSON: `cargo run --release -p meadow-bench --example
//! show -- /var/lib/meadow`.

use std::path::PathBuf;
use std::time::Duration;

use meadow_bench::{Effort, inventory, measure};
use meadow_host::{Clock, SystemClock};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let state = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "/var/lib".into()));
    let hardware = inventory(Duration::from_secs(5)).await?;
    println!("{}", serde_json::to_string_pretty(&hardware)?);
    let start = SystemClock.boottime();
    let measures = tokio::task::spawn_blocking(move || measure(&state, Effort::default(), &SystemClock)).await?;
    println!("{}", serde_json::to_string_pretty(&measures)?);
    eprintln!("measured in {:.1} s", (SystemClock.boottime() - start).as_secs_f64());
    Ok(())
}
