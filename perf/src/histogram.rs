//! Latencies in buckets: 32 for each doubling, so that a percentile is right within 3 %. Counting costs nothing
//! that a measurement would notice, and the histograms of several connections add up.

use std::time::Duration;

/// Counts by nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    count: u64,
    longest_ns: u64,
}

const STEP_BITS: u32 = 5;
const STEPS: u64 = 1 << STEP_BITS;
const BUCKETS: usize = ((64 - STEP_BITS + 1) << STEP_BITS) as usize;

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], count: 0, longest_ns: 0 }
    }
}

impl Histogram {
    #[inline]
    pub(crate) fn add(&mut self, latency: Duration) {
        let ns = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket_of(ns)] += 1;
        self.count += 1;
        self.longest_ns = self.longest_ns.max(ns);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.count += other.count;
        self.longest_ns = self.longest_ns.max(other.longest_ns);
    }

    /// The latency that this share (0 to 1) of all did not exceed, in microseconds; 0 of none.
    pub(crate) fn percentile_us(&self, share: f64) -> f64 {
        let wanted = (self.count as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return (highest_of(bucket).min(self.longest_ns)) as f64 / 1e3;
            }
        }
        0.0
    }

    pub(crate) fn longest_us(&self) -> f64 {
        self.longest_ns as f64 / 1e3
    }
}

#[inline]
fn bucket_of(ns: u64) -> usize {
    if ns < STEPS {
        return ns as usize;
    }
    let shift = 63 - ns.leading_zeros() - STEP_BITS;
    let step = (ns >> shift) - STEPS;
    ((u64::from(shift) + 1) * STEPS + step) as usize
}

/// The longest latency that falls into a bucket, in nanoseconds.
fn highest_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    let next = u128::from(bucket % STEPS + STEPS + 1) << shift;
    u64::try_from(next - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_lies_in_its_bucket_and_the_buckets_are_narrow() {
        for ns in (0..64).map(|bit| 1_u64 << bit).flat_map(|n| [n - 1, n, n + n / 3, n + (n - 1)]) {
            let bucket = bucket_of(ns);
            let highest = highest_of(bucket);
            assert!(highest >= ns, "{ns}");
            assert!(highest - ns <= ns / STEPS, "{ns} in a bucket up to {highest}");
            assert!(bucket == 0 || highest_of(bucket - 1) < ns, "{ns}");
        }
    }

    #[test]
    fn percentiles_are_those_of_all_merged() {
        let mut all = Histogram::default();
        for part in 0..4 {
            let mut histogram = Histogram::default();
            (1..=250).for_each(|n| histogram.add(Duration::from_micros(part * 250 + n)));
            all.merge(&histogram);
        }
        for (share, expected) in [(0.5, 500.0), (0.9, 900.0), (0.99, 990.0)] {
            let found = all.percentile_us(share);
            assert!((found - expected).abs() <= expected * 0.04, "{share}: {found}");
        }
        assert_eq!(all.percentile_us(1.0), 1000.0);
        assert_eq!(Histogram::default().percentile_us(0.5), 0.0);
    }
}
