//! Bounds of histograms. They equal llm-d's, because its dashboards depend on them; regular ones are computed.
//!
//! Must not know which metric uses which.

/// `first, 2 first, 4 first, …`, `count` of them.
pub(super) fn doubling(first: f64, count: u32) -> Vec<f64> {
    (0..count).map(|i| first * 2f64.powi(i as i32)).collect()
}

/// Request sizes: powers of two from 64 B to 1 GiB.
pub(super) fn request_bytes() -> Vec<f64> {
    doubling(64.0, 25)
}

/// `1, 8, 16, …` up to `last`. llm-d has 32778 instead of 32768, and the bound is part of the contract.
pub(super) fn tokens(last: f64) -> Vec<f64> {
    let regular = std::iter::once(1.0).chain(doubling(8.0, 18)).take_while(|bound| *bound <= last);
    regular.map(|bound| if bound == 32_768.0 { 32_778.0 } else { bound }).collect()
}

/// Whole requests: 5 ms to an hour.
pub(super) fn request_seconds() -> Vec<f64> {
    vec![
        0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0,
        30.0, 45.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 480.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0,
    ]
}

/// Time to first token: 5 ms to two minutes.
pub(super) fn first_token_seconds() -> Vec<f64> {
    vec![0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 10.0, 20.0, 30.0, 60.0, 120.0]
}

/// Time for one output token: half a millisecond to two seconds.
pub(super) fn output_token_seconds() -> Vec<f64> {
    vec![0.0005, 0.00205, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.2, 0.5, 1.0, 2.0]
}

/// Time for one output token over the whole request.
pub(super) fn normalized_seconds() -> Vec<f64> {
    vec![0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]
}

/// Decisions: 0.1 ms to 0.1 s.
pub(super) fn decision_seconds() -> Vec<f64> {
    vec![0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1]
}

/// Work on one request or scrape: half a millisecond to ten seconds.
pub(super) fn processing_seconds() -> Vec<f64> {
    vec![0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]
}

/// Ratios: steps of a tenth.
pub(super) fn ratios() -> Vec<f64> {
    (0..=10).map(|i| f64::from(i) / 10.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_equal_llm_ds_including_its_typo() {
        assert_eq!(request_bytes().last(), Some(&1_073_741_824.0));
        let sizes = tokens(65_536.0);
        assert_eq!((sizes[0], sizes[1], sizes.len()), (1.0, 8.0, 15));
        assert_eq!(sizes[13..], [32_778.0, 65_536.0]);
        assert_eq!(tokens(8192.0).last(), Some(&8192.0));
        assert_eq!(tokens(1_048_576.0).last(), Some(&1_048_576.0));
    }
}
