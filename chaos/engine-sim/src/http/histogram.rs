//! A histogram as the engine's metrics library keeps it.
//!
//! Must not know what it counts.

/// Counts of values by upper bounds.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    bounds: Vec<f64>,
    /// One more than `bounds`: the last one counts values above all of them.
    counts: Vec<u64>,
    sum: f64,
}

// === impl Histogram ===

impl Histogram {
    /// An empty one with these upper bounds, in rising order.
    pub(super) fn new(bounds: Vec<f64>) -> Self {
        Self { counts: vec![0; bounds.len() + 1], bounds, sum: 0.0 }
    }

    /// Counts `value`.
    pub(super) fn observe(&mut self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket] += 1;
        self.sum += value;
    }

    /// Each bound with the count of values up to it; the last bound is infinite.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        }))
    }

    /// How many values were counted.
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum.
    pub(super) fn sum(&self) -> f64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_is_below_it() {
        let mut histogram = Histogram::new(vec![1.0, 2.0]);
        [1.0, 1.5, 2.0, 3.0].into_iter().for_each(|value| histogram.observe(value));
        let buckets: Vec<_> = histogram.buckets().collect();
        assert_eq!(buckets, [(1.0, 1), (2.0, 3), (f64::INFINITY, 4)]);
        assert_eq!((histogram.count(), histogram.sum()), (4, 7.5));
    }
}
