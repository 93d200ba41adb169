//! How long a request takes on each way, when it is the only one.
//!
//! Must not know who is on a way.

use super::way::{Errand, Way};
use crate::bench::Failure;
use crate::bench::spread::Spread;

/// Requests on each way that open connections and fill caches, and are not measured.
const WARM_UP: usize = 50;

/// The spread of `samples` requests on each way, in ms.
pub(super) async fn times(ways: &[Way], errand: &mut Errand, samples: usize) -> Result<Vec<Spread>, Failure> {
    let mut times = vec![Vec::with_capacity(samples); ways.len()];
    for round in 0..WARM_UP + samples {
        // In turns, so that what else the machine does falls on all ways, and each goes first as often as any other.
        for turn in 0..ways.len() {
            let i = (round + turn) % ways.len();
            let body = errand.body(errand.next);
            errand.next += 1;
            let took = ways[i].ask(body, errand.chunks).await?;
            if round >= WARM_UP {
                times[i].push(took.as_secs_f64() * 1e3);
            }
        }
    }
    Ok(times.into_iter().map(Spread::of).collect())
}
