//! What was measured in a round, and what many rounds say.

use std::time::Duration;

/// One round's times, in order of size.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    sorted: Vec<Duration>,
    /// Requests per second.
    pub(crate) per_second: f64,
}

impl Sample {
    /// Of these times, which took so long together.
    pub(crate) fn of(mut times: Vec<Duration>, elapsed: Duration) -> Self {
        times.sort_unstable();
        Self { per_second: times.len() as f64 / elapsed.as_secs_f64(), sorted: times }
    }

    /// The time that so much of the sample stays under, in milliseconds.
    pub(crate) fn percentile_ms(&self, percent: usize) -> f64 {
        let rank = (self.sorted.len() * percent).div_ceil(100).max(1);
        self.sorted[rank - 1].as_secs_f64() * 1000.0
    }
}

/// The middle of the rounds: what a neighbour on the machine disturbs for a moment does not move it.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
    f64::midpoint(low, high)
}
