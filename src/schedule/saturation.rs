//! How full the pool is (`utilization-detector`), and whether a sheddable request may still come in.
//!
//! Must not know queues or objectives; a priority arrives as a number.
//!
//! llm-d's formula: the mean over endpoints of `max(waiting / queueDepthThreshold, kvUsage / kvCacheUtilThreshold)`; an
//! endpoint with `FALLBACK` trust counts as full. Where endpoints have roles, the fuller of the stages prefill and
//! decode counts. An endpoint whose role allows neither does not count.

use crate::fleet::Trust;
use crate::schedule::Candidate;

/// `utilization-detector`.
#[derive(Clone, Debug, PartialEq)]
pub struct SaturationSettings {
    /// Waiting requests that count as full.
    pub queue_depth_threshold: f64,
    /// KV use that counts as full.
    pub kv_cache_util_threshold: f64,
}

/// Saturation of these rows; `1.0` and more is full. Rows of which none decodes count as full.
pub fn saturation(rows: &[Candidate<'_>], settings: &SaturationSettings) -> f64 {
    let decode = mean(rows.iter().filter(|row| row.stages.serves()), settings);
    let decode = decode.or_else(|| mean(rows.iter(), settings)).unwrap_or(1.0);
    let prefill = mean(rows.iter().filter(|row| row.stages.prefill), settings);
    prefill.map_or(decode, |prefill| prefill.max(decode))
}

/// The mean over some rows; `None` where there are none.
fn mean<'a>(rows: impl Iterator<Item = &'a Candidate<'a>>, settings: &SaturationSettings) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0u32);
    for row in rows {
        sum += match row.trust {
            Trust::Fallback => 1.0,
            Trust::Exact | Trust::Degraded => {
                let queue = row.waiting / settings.queue_depth_threshold;
                queue.max(row.kv_usage / settings.kv_cache_util_threshold)
            }
        };
        count += 1;
    }
    (count > 0).then(|| sum / f64::from(count))
}

/// llm-d's legacy admission: only a request with a priority below zero is shed, and only while the pool is full.
pub fn sheds(priority: i32, saturation: f64) -> bool {
    priority < 0 && saturation >= 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::endpoint::ROLE_LABEL;
    use crate::plugin::testing::{endpoint, rows};

    #[test]
    fn only_sheddable_requests_are_shed_and_only_from_full_pools() {
        assert!(sheds(-1, 1.0));
        assert!(!sheds(-1, 0.999));
        assert!(!sheds(0, 5.0));
    }

    const SETTINGS: SaturationSettings =
        SaturationSettings { queue_depth_threshold: 5.0, kv_cache_util_threshold: 0.8 };

    #[test]
    fn no_rows_count_as_full() {
        assert_eq!(saturation(&[], &SETTINGS), 1.0);
    }

    #[test]
    fn the_fuller_of_two_stages_counts() {
        let endpoints = ["prefill", "decode", "decode"].map(|role| endpoint(role, &[(ROLE_LABEL, role)]));
        let mut rows = rows(&endpoints);
        rows[0].waiting = 10.0;
        assert_eq!(saturation(&rows, &SETTINGS), 2.0, "not the mean over all three");
        rows[1].waiting = 30.0;
        assert_eq!(saturation(&rows, &SETTINGS), 3.0);
    }

    #[test]
    fn an_idle_pool_is_not_full_whatever_its_roles_are() {
        for role in ["Decode", "leader", "prefill", "encode"] {
            let endpoints = [endpoint("e0", &[(ROLE_LABEL, role)])];
            assert_eq!(saturation(&rows(&endpoints), &SETTINGS), 0.0, "{role}");
        }
    }
}
