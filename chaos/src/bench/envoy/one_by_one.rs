//! How long a request takes on each way, when it is the only one.
//!
//! Must not know who is on a way.

use std::time::Duration;

use murmuration::chance::Chance;
use tokio::time::sleep;

use super::way::{Errand, Way};
use crate::bench::Failure;
use crate::bench::spread::Spread;

/// Requests on each way that open connections and fill caches, and are not measured.
const WARM_UP: usize = 50;
/// From an answer to the next request: what a picker still does for the last one must not be charged to the next way.
const REST: Duration = Duration::from_millis(1);

/// The spread of `samples` requests on each way, in ms.
pub(super) async fn times(ways: &[Way], errand: &mut Errand, samples: usize) -> Result<Vec<Spread>, Failure> {
    let mut times = vec![Vec::with_capacity(samples); ways.len()];
    let mut order: Vec<usize> = (0..ways.len()).collect();
    let mut chance = Chance::from_seed(0);
    for round in 0..WARM_UP + samples {
        // In turns, so that what else the machine does falls on all ways; in ever new order, so that none always
        // follows the same other.
        shuffle(&mut order, &mut chance);
        for &i in &order {
            sleep(REST).await;
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

fn shuffle(order: &mut [usize], chance: &mut Chance) {
    for last in (1..order.len()).rev() {
        order.swap(last, chance.below(last + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_in_every_order_and_each_follows_every_other() {
        let (mut order, mut chance) = ([0, 1, 2], Chance::from_seed(0));
        let mut pairs = std::collections::BTreeSet::new();
        for _ in 0..100 {
            shuffle(&mut order, &mut chance);
            pairs.extend(order.windows(2).map(|pair| (pair[0], pair[1])));
            assert_eq!(order.iter().sum::<usize>(), 3);
        }
        assert_eq!(pairs.len(), 6);
    }
}
