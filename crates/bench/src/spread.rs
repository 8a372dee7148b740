//! Many durations, and what is said about them.

use std::time::Duration;

use serde::Serialize;

/// Durations of one kind of thing, ready for questions.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    sorted: Vec<Duration>,
}

impl Spread {
    pub(crate) fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self { sorted: durations }
    }

    pub(crate) fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The duration that the share `at` of all do not exceed; `at` lies within 0 and 1.
    pub(crate) fn percentile(&self, at: f64) -> Duration {
        let rank = (self.sorted.len() as f64 * at).ceil() as usize;
        let index = rank.clamp(1, self.sorted.len().max(1)) - 1;
        self.sorted.get(index).copied().unwrap_or_default()
    }

    pub(crate) fn summary(&self) -> Latency {
        Latency {
            p50_us: micros(self.percentile(0.5)),
            p99_us: micros(self.percentile(0.99)),
            p999_us: micros(self.percentile(0.999)),
            max_us: micros(self.percentile(1.0)),
        }
    }
}

/// How long something took, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Half took no longer.
    pub p50_us: f64,
    /// 99 of 100 took no longer.
    pub p99_us: f64,
    /// 999 of 1,000 took no longer.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl Latency {
    /// The median of each figure over several runs.
    pub(crate) fn median(runs: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(runs.iter().map(figure).collect());
        Self {
            p50_us: of(|run| run.p50_us),
            p99_us: of(|run| run.p99_us),
            p999_us: of(|run| run.p999_us),
            max_us: of(|run| run.max_us),
        }
    }
}

/// The middle value; 0 of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[odd / 2],
        even => (values[even / 2 - 1] + values[even / 2]) / 2.0,
    }
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let spread = Spread::of((1..=1000).rev().map(Duration::from_micros).collect());
        assert_eq!(spread.percentile(0.5), Duration::from_micros(500));
        assert_eq!(spread.percentile(0.999), Duration::from_micros(999));
        assert_eq!(spread.percentile(1.0), Duration::from_micros(1000));
        assert_eq!(Spread::of(Vec::new()).percentile(0.5), Duration::ZERO);
    }

    #[test]
    fn the_median_of_an_even_count_lies_between() {
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(vec![9.0, 1.0, 3.0]), 3.0);
    }
}
