//! Median, 99th percentile and mean of a set of figures.
//!
//! Must not know their unit.

/// The middle, the tail and the mean of a set of figures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Spread {
    /// Half of the figures are not above it.
    pub(super) p50: f64,
    /// All but a hundredth are not above it.
    pub(super) p99: f64,
    /// Their sum divided by their number.
    pub(super) mean: f64,
}

// === impl Spread ===

impl Spread {
    /// The spread of `figures`; zeros where there are none.
    pub(super) fn of(mut figures: Vec<f64>) -> Self {
        if figures.is_empty() {
            return Self::default();
        }
        figures.sort_unstable_by(f64::total_cmp);
        // Nearest rank: the smallest figure that at least this share of all is not above.
        let at = |share: f64| figures[((share * figures.len() as f64).ceil() as usize).clamp(1, figures.len()) - 1];
        Self { p50: at(0.5), p99: at(0.99), mean: figures.iter().sum::<f64>() / figures.len() as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_the_nearest_and_order_does_not_matter() {
        let figures = (1..=200).rev().map(f64::from).collect();
        assert_eq!(Spread::of(figures), Spread { p50: 100.0, p99: 198.0, mean: 100.5 });
    }

    #[test]
    fn one_figure_is_its_own_spread_and_none_has_none() {
        assert_eq!(Spread::of(vec![7.0]), Spread { p50: 7.0, p99: 7.0, mean: 7.0 });
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }
}
