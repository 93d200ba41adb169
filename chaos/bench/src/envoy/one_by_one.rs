//! How long a request takes on each way, when it is the only one.
//!
//! Must not know which picker a way has.

use std::time::Duration;

use murmuration::chance::Chance;
use tokio::time::sleep;

use super::way::{ClientRequest, Way};
use crate::Failure;
use crate::spread::Spread;

/// Warm-up requests on each way: they open connections, fill caches and are not measured.
const WARM_UP: usize = 50;
/// Pause between an answer and the next request, so that a picker's work for the last one is not charged to the next
/// way.
const PAUSE: Duration = Duration::from_millis(1);

/// The spread of `samples` requests on each way, in ms.
pub(super) async fn times(
    ways: &[Way],
    client_request: &mut ClientRequest,
    samples: usize,
) -> Result<Vec<Spread>, Failure> {
    let mut times = vec![Vec::with_capacity(samples); ways.len()];
    let mut order: Vec<usize> = (0..ways.len()).collect();
    let mut chance = Chance::from_seed(0);
    for round in 0..WARM_UP + samples {
        // In turns, so that other load on the machine affects all ways. The order changes each time, so that no way
        // always follows the same other one.
        shuffle(&mut order, &mut chance);
        for &i in &order {
            sleep(PAUSE).await;
            let body = client_request.body(client_request.next);
            client_request.next += 1;
            let took = ways[i].ask(body, client_request.chunks).await?;
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
