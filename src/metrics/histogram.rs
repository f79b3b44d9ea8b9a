//! How long a command takes, as a distribution: counters by ranges that grow with the value, so that a percentile is
//! right to about 3 %. One range is found with a few shifts; memory is taken when a command first runs.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Ranges in each power of two.
const STEPS: usize = 32;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Powers of two that are told apart; about 70 seconds. Longer times count as that.
const POWERS: usize = 32;
const RANGES: usize = POWERS * STEPS;

/// See the module's comment.
#[derive(Default)]
pub struct Histogram {
    counters: OnceLock<Box<[AtomicU64]>>,
}

/// The range that a value falls into.
fn range_of(nanoseconds: u64) -> usize {
    let power = nanoseconds.max(1).ilog2();
    if power < STEP_BITS {
        return nanoseconds as usize;
    }
    let shift = power - STEP_BITS;
    let index = ((shift as usize + 1) << STEP_BITS) + (nanoseconds >> shift) as usize - STEPS;
    index.min(RANGES - 1)
}

/// The largest value of a range.
fn upper_end(range: usize) -> u64 {
    if range < STEPS {
        return range as u64;
    }
    let shift = (range >> STEP_BITS) - 1;
    let step = (range & (STEPS - 1)) + STEPS;
    ((step as u64 + 1) << shift) - 1
}

impl Histogram {
    /// Counts a time. Only the owning thread does, so that it needs no locked instruction.
    pub fn record(&self, nanoseconds: u64) {
        let counters = self
            .counters
            .get_or_init(|| (0..RANGES).map(|_| AtomicU64::new(0)).collect());
        super::add(&counters[range_of(nanoseconds)], 1);
    }

    /// Counts a time from any thread.
    pub fn record_shared(&self, nanoseconds: u64) {
        let counters = self
            .counters
            .get_or_init(|| (0..RANGES).map(|_| AtomicU64::new(0)).collect());
        counters[range_of(nanoseconds)].fetch_add(1, Relaxed);
    }

    /// Forgets everything.
    pub fn reset(&self) {
        for counter in self.counters.get().into_iter().flatten() {
            counter.store(0, Relaxed);
        }
    }
}

/// The sum of histograms, to be looked at.
pub struct Distribution {
    counts: Vec<u64>,
    total: u64,
}

impl Distribution {
    /// Adds up the histograms of several threads; `None` if nothing was counted.
    pub fn of<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> Option<Distribution> {
        let mut counts = vec![0; RANGES];
        for counters in histograms.filter_map(|histogram| histogram.counters.get()) {
            for (sum, counter) in counts.iter_mut().zip(counters) {
                *sum += counter.load(Relaxed);
            }
        }
        let total = counts.iter().sum();
        (total > 0).then_some(Distribution { counts, total })
    }

    /// How many times were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The time, in nanoseconds, that so many per cent did not exceed.
    pub fn percentile(&self, percent: f64) -> u64 {
        let wanted = ((percent / 100.0 * self.total as f64).ceil() as u64).clamp(1, self.total);
        let mut seen = 0;
        for (range, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return upper_end(range);
            }
        }
        upper_end(RANGES - 1)
    }

    /// Microseconds, growing by a factor of two from 1, and how many took at most so long; only where that number grows.
    pub fn by_microseconds(&self) -> Vec<(u64, u64)> {
        let mut shown = Vec::new();
        let (mut seen, mut range) = (0, 0);
        let mut bound: u64 = 1024;
        while seen < self.total {
            let former = seen;
            // The range that the bound begins counts too, as Redis shows it.
            let limit = bound + bound / 128 - 1;
            while range < RANGES && (upper_end(range) <= limit || bound > 1 << 40) {
                seen += self.counts[range];
                range += 1;
            }
            if seen > former {
                shown.push((limit / 1000, seen));
            }
            bound *= 2;
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_its_range() {
        for value in (0..5000).chain((0..36).map(|power| 1 << power)) {
            let range = range_of(value);
            assert!(value <= upper_end(range) || range == RANGES - 1, "{value}");
            assert!(range == 0 || value > upper_end(range - 1), "{value}");
        }
    }

    #[test]
    fn percentiles_and_steps() {
        let histogram = Histogram::default();
        assert!(Distribution::of([&histogram].into_iter()).is_none());
        for _ in 0..99 {
            histogram.record(900);
        }
        histogram.record(3_000_000);
        let distribution = Distribution::of([&histogram].into_iter()).expect("counts");
        assert_eq!(distribution.total(), 100);
        assert!((900..930).contains(&distribution.percentile(50.0)));
        assert!((3_000_000..3_100_000).contains(&distribution.percentile(100.0)));
        assert_eq!(distribution.by_microseconds(), [(1, 99), (4227, 100)]);
        histogram.reset();
        assert!(Distribution::of([&histogram].into_iter()).is_none());
    }
}
