//! How fast changes of the replicated state become durable: the figures of meadow-raft's own example.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use meadow_rack::paths;
use meadow_rack::progress::Progress;

use crate::measure::Measure;
use crate::raw_sync;

/// Goals, as multiples of one fdatasync and of the raw rate of fdatasyncs.
const ONE_CLIENT: f64 = 3.5;
const MANY_CLIENTS: f64 = 4.0;

/// Figures of one run.
#[derive(Debug, PartialEq)]
struct Run {
    raw_us: f64,
    one_client_us: f64,
    one_client_p99_us: f64,
    changes: f64,
}

/// Runs the example `rounds` times on the disk of `folder`. Within each run raw syncs, one client and 64 clients take
/// turns; the goals are held against syncs of a file that was laid out first, which are the cheaper ones.
///
/// # Errors
/// When it is not built or fails.
pub(crate) fn measure(rounds: u32, folder: &Path, progress: &mut Progress) -> Result<Vec<Measure>> {
    let program = paths::programs().join("examples/commit_bench");
    let (mut runs, mut laid_out) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        progress.line(&format!("replicated changes, round {round} of {rounds}"));
        let output = Command::new(&program).arg(folder).arg("1").output();
        let output = output.with_context(|| format!("cannot run {}; tests/make/bench builds it", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "commit_bench failed: {}{text}", String::from_utf8_lossy(&output.stderr));
        runs.push(parse(&text).with_context(|| format!("commit_bench printed something unknown:\n{text}"))?);
        laid_out.push(raw_sync::p50_us(folder)?);
    }
    let collect = |value: fn(&Run) -> f64| runs.iter().map(value).collect();
    let beside = |value: fn(&Run, f64) -> f64| runs.iter().zip(&laid_out).map(|(run, raw)| value(run, *raw)).collect();
    Ok(vec![
        Measure::rounds("raw fdatasync of 4 KiB, file laid out first, p50", "µs", laid_out.clone()),
        Measure::rounds("raw fdatasync of 4 KiB, growing file, p50", "µs", collect(|run| run.raw_us)),
        Measure::rounds("one change, 1 client, p50", "µs", collect(|run| run.one_client_us)),
        Measure::rounds("one change, 1 client, p99", "µs", collect(|run| run.one_client_p99_us)),
        Measure::rounds("one change, p50 ÷ raw p50 (laid out)", "x", beside(|run, raw| run.one_client_us / raw))
            .at_most(ONE_CLIENT),
        Measure::rounds("changes, 64 clients", "/s", collect(|run| run.changes)),
        Measure::rounds("changes, 64 clients ÷ raw syncs (laid out)", "x", beside(|run, raw| run.changes * raw / 1e6))
            .at_least(MANY_CLIENTS),
    ])
}

fn parse(text: &str) -> Option<Run> {
    let after = |line: &str, word: &str| {
        let line = text.lines().find(|candidate| candidate.starts_with(line))?;
        line.split_once(word)?.1.split_whitespace().next()?.parse().ok()
    };
    Some(Run {
        raw_us: after("raw fdatasync", "p50")?,
        one_client_us: after("1 client ", "p50")?,
        one_client_p99_us: after("1 client ", "p99")?,
        changes: after("64 clients", "changes/s")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_the_example() {
        let text = "1000 machines in the state; microseconds, median of 1 rounds
raw fdatasync            p50      105
1 client                 p50      301  p99 812  (2.87 x raw)
64 clients   changes/s     41000  (4.31 x raw)
";
        let run = Run { raw_us: 105.0, one_client_us: 301.0, one_client_p99_us: 812.0, changes: 41000.0 };
        assert_eq!(parse(text), Some(run));
        assert_eq!(parse("raw fdatasync p50 -"), None);
    }
}
