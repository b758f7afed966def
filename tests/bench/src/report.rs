//! What a run has measured: `report.json`, and the same as a page of Markdown.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::host::Host;
use crate::measure::Measure;

/// Everything of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Version of this form.
    pub(crate) version: u32,
    /// When the run began, RFC 3339.
    pub(crate) begun: String,
    /// Version of the image that was measured.
    pub(crate) image: String,
    /// Where.
    pub(crate) host: Host,
    /// What ran the machines: `kvm` or `tcg`.
    pub(crate) accelerator: String,
    /// Rounds of what is measured in rounds.
    pub(crate) rounds: u32,
    /// The measures by subject.
    pub(crate) sections: Vec<Section>,
    /// What could not be measured, and why.
    pub(crate) failures: Vec<String>,
}

/// The measures of one subject.
#[derive(Debug, Serialize)]
pub(crate) struct Section {
    /// Name for `--only`.
    pub(crate) id: &'static str,
    /// Heading.
    pub(crate) title: &'static str,
    /// What exactly was measured, and how.
    pub(crate) how: String,
    /// Load average over one minute before and after.
    pub(crate) load: (f64, f64),
    /// The quantities.
    pub(crate) measures: Vec<Measure>,
}

impl Report {
    /// Writes `report.json` and `report.md` into `folder`.
    ///
    /// # Errors
    /// When the folder is not writable.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let json = serde_json::to_string_pretty(self).context("cannot write JSON")?;
        for (name, text) in [("report.json", json), ("report.md", self.markdown())] {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// The report for people.
    pub(crate) fn markdown(&self) -> String {
        let host = &self.host;
        let mut text = format!(
            "# Benchmarks of {}\n\nImage {}, machines run with {}, {} rounds.\nHost: {} with {} processors, {:.1} GiB, \
             {}, Linux {}, {}.\nFirmware: {}.\n",
            self.begun,
            self.image,
            self.accelerator,
            self.rounds,
            host.processor,
            host.processors,
            host.memory_gib,
            host.system,
            host.kernel,
            host.qemu,
            host.firmware
        );
        for section in &self.sections {
            section.write(&mut text);
        }
        if !self.failures.is_empty() {
            text.push_str("\n## Not measured\n\n");
            for failure in &self.failures {
                let _ = writeln!(text, "- {failure}");
            }
        }
        text
    }
}

impl Section {
    fn write(&self, text: &mut String) {
        // Writing to a string cannot fail.
        let (before, after) = self.load;
        let _ = write!(
            text,
            "\n## {}\n\n{} Load average {before:.1} before, {after:.1} after.\n\n| what | median | range | rounds | goal |\n\
             | --- | ---: | ---: | ---: | --- |\n",
            self.title, self.how
        );
        for measure in &self.measures {
            let (low, high) = measure.range();
            let rounds = measure.samples.len();
            let range = if rounds > 1 { format!("{}–{}", number(low), number(high)) } else { String::new() };
            let _ = writeln!(
                text,
                "| {} | {} {} | {range} | {rounds} | {} |",
                measure.name,
                number(measure.median),
                measure.unit,
                goal(measure)
            );
        }
    }
}

fn goal(measure: &Measure) -> String {
    let bounds = [("≤", measure.at_most), ("≥", measure.at_least)];
    let wanted: Vec<String> =
        bounds.iter().filter_map(|(sign, limit)| limit.map(|limit| format!("{sign} {}", number(limit)))).collect();
    match measure.reached() {
        None => String::new(),
        Some(true) => format!("{}: reached", wanted.join(", ")),
        Some(false) => format!("{}: **not reached**", wanted.join(", ")),
    }
}

/// Three significant digits, whole numbers from 100 on.
fn number(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 || magnitude >= 100.0 {
        format!("{value:.0}")
    } else if magnitude >= 10.0 {
        format!("{value:.1}")
    } else if magnitude >= 0.1 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_median_range_and_goal() {
        let section = Section {
            id: "x",
            title: "X",
            how: "Once.".to_owned(),
            load: (0.5, 1.25),
            measures: vec![
                Measure::rounds("time", "s", vec![2.0, 1.0, 30.0]).at_most(1.5),
                Measure::single("size", "MiB", 120.4).at_most(121.0),
                Measure::single("ratio", "x", 0.05),
            ],
        };
        let mut text = String::new();
        section.write(&mut text);
        for row in [
            "| time | 2.00 s | 1.00–30.0 | 3 | ≤ 1.50: **not reached** |",
            "| size | 120 MiB |  | 1 | ≤ 121: reached |",
            "| ratio | 0.0500 x |  | 1 |  |",
        ] {
            assert!(text.contains(row), "{text}");
        }
    }
}
