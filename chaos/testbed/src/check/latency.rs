//! The latency that the picker adds: the same small request through Envoy with and without it, alternately.
//!
//! Must not know what a tier is made of. Each way has one connection and one request at a time, so that neither way's
//! requests wait for the other's.

use std::time::Duration;

use serde::Serialize;

use super::Target;
use super::reading;
use super::report::Report;
use super::workload::{self, Api};
use murmuration_kit::client::{Call, Client, quantile};

/// Pairs that are measured.
pub(super) const PAIRS: usize = 400;
/// Pairs that warm up connections and caches: more than there are engines in a testbed.
const WARM_UP_PAIRS: usize = 40;
/// Failed pairs after which the measurement stops.
const FAILURES_MAX: usize = 5;

/// Difference of the quantiles with and without a picker, in ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct AddedLatency {
    /// Difference of the medians; `None` when nothing could be measured.
    pub p50: Option<f64>,
    /// Difference of the 99th percentiles; `None` when nothing could be measured.
    pub p99: Option<f64>,
    /// Pairs of requests that were measured.
    pub pairs: usize,
}

/// Measures with `pairs` pairs of requests.
pub(super) async fn measure(target: &Target, pairs: usize, report: &mut Report) -> AddedLatency {
    let (public, direct) = (Client::new(target.public), Client::new(target.direct));
    let model = target.model.as_str();
    let call = workload::small(model);
    let (mut with, mut without) = (Vec::with_capacity(pairs), Vec::with_capacity(pairs));
    let mut failed = 0;
    for number in 0..WARM_UP_PAIRS + pairs {
        let pair = if number % 2 == 0 {
            let first = took(&public, &call, model).await;
            (first, took(&direct, &call, model).await)
        } else {
            let first = took(&direct, &call, model).await;
            (took(&public, &call, model).await, first)
        };
        match pair {
            (Ok(with_picker), Ok(without_picker)) if number >= WARM_UP_PAIRS => {
                with.push(with_picker);
                without.push(without_picker);
            }
            (Ok(_), Ok(_)) => {}
            (one, other) => {
                one.err().into_iter().chain(other.err()).for_each(|sentence| report.fail(sentence));
                failed += 1;
            }
        }
        if failed >= FAILURES_MAX {
            report.fail(format!("gave up measuring latency after {failed} pairs that failed"));
            break;
        }
    }
    with.sort_unstable();
    without.sort_unstable();
    added(&with, &without)
}

fn added(with: &[Duration], without: &[Duration]) -> AddedLatency {
    let difference = |q| {
        let (with, without) = (quantile(with, q)?, quantile(without, q)?);
        let ms = (with.as_secs_f64() - without.as_secs_f64()) * 1e3;
        Some((ms * 1e3).round() / 1e3)
    };
    AddedLatency { p50: difference(0.5), p99: difference(0.99), pairs: with.len() }
}

/// How long a correct answer took; the time to check it is not included.
async fn took(client: &Client, call: &Call, model: &str) -> Result<Duration, String> {
    let sent = client.post(&call.path, call.body.clone(), &call.header_pairs()).await;
    let answer = sent.map_err(|error| error.to_string())?;
    let total = answer.total;
    let read = reading::read(&answer, false, Api::Completions, model);
    read.map_err(|why| format!("latency: POST {} of {}: {why}", call.path, client.address()))?;
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_subtracted_not_pairs() {
        let ms = |values: &[u64]| values.iter().copied().map(Duration::from_millis).collect::<Vec<_>>();
        let latency = added(&ms(&[2, 4, 9]), &ms(&[1, 5, 6]));
        assert_eq!(latency, AddedLatency { p50: Some(-1.0), p99: Some(3.0), pairs: 3 });
    }

    #[test]
    fn nothing_measured_is_not_zero() {
        assert_eq!(added(&[], &[]), AddedLatency::default());
        assert_eq!(AddedLatency::default().p50, None);
    }
}
