//! How long a fact of one replica takes to be in the others' books.
//!
//! Must not know lanes. The books are looked at each millisecond, so an age is known to about one, and a look at two
//! hundred endpoints costs a part of it.

use std::time::Duration;

use murmuration::chance::mix;
use murmuration::request::Outcome;
use murmuration::scheduler::{EndpointSummary, FleetSummary};
use murmuration_actors::replica::Replica;
use murmuration_actors::scheduler::Asking;
use tokio::time::{Instant, sleep};

use super::load::request;
use super::tier::Tier;

/// From one look to the next.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// From one probe to the next, not in step with any interval of the tier.
const PROBE_EVERY: Duration = Duration::from_millis(37);
/// After this long a fact counts as this old.
const OLDEST: Duration = Duration::from_secs(2);

/// Ages in seconds.
#[derive(Debug, Default)]
pub(super) struct Ages {
    /// From a dispatch to another's count of it.
    pub(super) in_flight: Vec<f64>,
    /// From a dispatch to another's index knowing its prompt.
    pub(super) placement: Vec<f64>,
    /// The age of what a replica believes of an endpoint that another one keeps.
    pub(super) load: Vec<f64>,
}

// === impl Ages ===

impl Ages {
    /// Probes from every replica in turn, heard by the next one.
    pub(super) async fn measure(tier: &Tier, probes: usize) -> Self {
        let mut ages = Self::default();
        for probe in 0..probes {
            let from = &tier.replicas[probe % tier.replicas.len()];
            let to = &tier.replicas[(probe + 1) % tier.replicas.len()];
            ages.probe(from, to, probe as u64).await;
            sleep(PROBE_EVERY).await;
        }
        ages
    }

    async fn probe(&mut self, from: &Replica, to: &Replica, probe: u64) {
        // No conversation of the load is like it, so its blocks are new to whoever gets it.
        let asked = request(mix(probe) | 1 << 63, 400);
        let Ok((reservation, decision)) = from.scheduler().ask(asked.clone()).await else { return };
        let Some(endpoint) = decision.primary().map(|target| target.endpoint.clone()) else { return };
        let began = Instant::now();
        let (mut counted, mut placed) = (None, None);
        while (counted.is_none() || placed.is_none()) && began.elapsed() < OLDEST {
            let (Some(origin), Some(hearer)) = (from.scheduler().summary().await, to.scheduler().summary().await)
            else {
                return;
            };
            let age = began.elapsed();
            if probe.is_multiple_of(8) && counted.is_none() {
                self.load.extend(hearer.endpoints.iter().filter_map(|e| e.age).map(|age| age.as_secs_f64()));
            }
            let of = |summary: &FleetSummary| {
                summary.endpoints.iter().find(|e: &&EndpointSummary| e.endpoint.id == endpoint).cloned()
            };
            let (Some(origin), Some(hearer)) = (of(&origin), of(&hearer)) else { return };
            // The probe's prompt is far larger than any of the load's: the tokens tell.
            if counted.is_none() && hearer.foreign.prefill_tokens >= asked.prompt.tokens {
                counted = Some(age);
            }
            if placed.is_none() && hearer.index_blocks >= origin.index_blocks {
                placed = Some(age);
            }
            sleep(LOOK_EVERY).await;
        }
        self.in_flight.push(counted.unwrap_or(OLDEST).as_secs_f64());
        self.placement.push(placed.unwrap_or(OLDEST).as_secs_f64());
        reservation.finish(Outcome::Completed, None);
    }
}
