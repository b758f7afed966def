//! Samples of one quantity, and what is wanted of them.

use serde::Serialize;

/// Fewer rounds say nothing of programs that take turns on a machine that others use too.
pub(crate) const LEAST_ROUNDS: u32 = 5;

/// One quantity, measured once or in several rounds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Measure {
    /// What was measured.
    pub(crate) name: String,
    /// The unit of the samples: `s`, `MiB`, `x` for a ratio.
    pub(crate) unit: &'static str,
    /// One a round, in the order in which they were taken.
    pub(crate) samples: Vec<f64>,
    /// The median of the samples.
    pub(crate) median: f64,
    /// The median is not to exceed this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at_most: Option<f64>,
    /// The median is not to fall below this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at_least: Option<f64>,
}

impl Measure {
    /// A quantity measured once.
    pub(crate) fn single(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self::rounds(name, unit, vec![value])
    }

    /// A quantity measured in rounds; there is at least one sample.
    pub(crate) fn rounds(name: impl Into<String>, unit: &'static str, samples: Vec<f64>) -> Self {
        let median = median(&samples);
        Self { name: name.into(), unit, samples, median, at_most: None, at_least: None }
    }

    /// With a goal that the median must not exceed.
    pub(crate) fn at_most(self, limit: f64) -> Self {
        Self { at_most: Some(limit), ..self }
    }

    /// With a goal that the median must reach.
    pub(crate) fn at_least(self, limit: f64) -> Self {
        Self { at_least: Some(limit), ..self }
    }

    /// Whether the goal is reached; `None` where there is none.
    pub(crate) fn reached(&self) -> Option<bool> {
        let below = self.at_most.map(|limit| self.median <= limit);
        let above = self.at_least.map(|limit| self.median >= limit);
        match (below, above) {
            (None, None) => None,
            (below, above) => Some(below.unwrap_or(true) && above.unwrap_or(true)),
        }
    }

    /// Smallest and greatest sample.
    pub(crate) fn range(&self) -> (f64, f64) {
        self.samples
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), sample| (low.min(*sample), high.max(*sample)))
    }
}

/// The middle sample, or the mean of the two in the middle; not a number where there is none.
fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match (sorted.get(half.wrapping_sub(1)), sorted.get(half)) {
        (Some(low), Some(high)) if sorted.len().is_multiple_of(2) => low.midpoint(*high),
        (_, Some(middle)) => *middle,
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn medians_of_few_samples() {
        for (samples, expected) in
            [(vec![3.0], 3.0), (vec![9.0, 1.0], 5.0), (vec![9.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 100.0], 3.0)]
        {
            assert!((median(&samples) - expected).abs() < 1e-9, "{samples:?}");
        }
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_goal_is_held_against_the_median() {
        let measure = Measure::rounds("x", "s", vec![1.0, 5.0, 2.0]);
        assert_eq!(measure.reached(), None);
        assert_eq!(measure.clone().at_most(2.0).reached(), Some(true));
        assert_eq!(measure.clone().at_most(1.9).reached(), Some(false));
        assert_eq!(measure.clone().at_least(2.1).reached(), Some(false));
        assert_eq!(measure.at_most(1.0).at_least(0.0).reached(), Some(false));
    }

    proptest! {
        #[test]
        fn the_median_lies_in_the_range(samples in proptest::collection::vec(-1e9..1e9, 1..9)) {
            let measure = Measure::rounds("x", "s", samples);
            let (low, high) = measure.range();
            prop_assert!(low <= measure.median && measure.median <= high);
        }
    }
}
