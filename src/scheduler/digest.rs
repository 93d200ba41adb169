//! A digest of a scheduler's beliefs, as four numbers. Two replicas with equal beliefs have equal digests.
//!
//! Ages are left out, and so is what may legitimately differ: the lane that brought a fact, the order in which
//! endpoints came, and the age of a placement.

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::fleet::Entry;
use crate::id::{EndpointKey, Slot};
use crate::prefix::PrefixIndex;

/// The digest. Equal beliefs give equal numbers; different ones give different numbers, except for hash collisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BeliefDigest {
    /// Endpoints with address and labels, and whether each is awake and reachable.
    pub endpoints: u64,
    /// Last reports without KV use, which is published in steps: its last change may be too small to publish.
    pub reports: u64,
    /// Open work on each endpoint, dispatched by any replica.
    pub shares: u64,
    /// Prompt prefixes that each endpoint holds.
    pub prefixes: u64,
}

// === impl BeliefDigest ===

impl BeliefDigest {
    /// All four combined into one number.
    pub fn all(&self) -> u64 {
        let Self { endpoints, reports, shares, prefixes } = *self;
        [endpoints, reports, shares, prefixes].into_iter().fold(0, |seed, part| seeded(&part.to_le_bytes(), seed))
    }
}

/// Adds one endpoint. Sums do not depend on the order of slots, which is the order in which endpoints came.
pub(super) fn add(sum: &mut BeliefDigest, slot: Slot, entry: &Entry, index: &PrefixIndex) {
    let EndpointKey(key) = entry.endpoint.id.key();
    let work = format!("{:?} {:?}", entry.open_work(), entry.prefill_speed());
    let prefixes = index.fingerprint(slot);
    sum.endpoints = sum.endpoints.wrapping_add(seeded(endpoint_state(entry).as_bytes(), key));
    sum.reports = sum.reports.wrapping_add(seeded(reported(entry).as_bytes(), key));
    sum.shares = sum.shares.wrapping_add(seeded(work.as_bytes(), key));
    sum.prefixes = sum.prefixes.wrapping_add(seeded(&prefixes.to_le_bytes(), key));
}

fn endpoint_state(entry: &Entry) -> String {
    let endpoint = &entry.endpoint;
    format!("{} {:?} {} {}", endpoint.address, endpoint.labels, entry.is_awake(), entry.is_reachable())
}

fn reported(entry: &Entry) -> String {
    entry.report().map_or_else(String::new, |report| {
        format!("{:?} {:?} {:?} {:?}", report.waiting(), report.running(), report.adapters, report.cache)
    })
}

fn seeded(bytes: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::fleet::{Endpoint, Fleet, LoadReport, Observation};
    use crate::id::{BlockHash, EndpointId};
    use crate::time::Timestamp;

    const NOW: Timestamp = Timestamp::from_millis(1);

    fn endpoint(name: &str) -> Endpoint {
        let address = std::net::SocketAddr::from(([10, 0, 0, 1], 8000));
        Endpoint { id: EndpointId::new("default", name), address, labels: BTreeMap::new() }
    }

    /// Endpoints that came in this order, with `waiting` at the one called `a`, which holds `chain`.
    fn believed(order: [&str; 2], waiting: u32, chain: &[u64]) -> BeliefDigest {
        let (mut fleet, mut index) = (Fleet::default(), PrefixIndex::new(1 << 20));
        for name in order {
            fleet.upsert(endpoint(name), &mut Vec::new());
        }
        let report = LoadReport { waiting, awake: true, ..LoadReport::default() };
        let a = EndpointId::new("default", "a");
        let age = std::time::Duration::ZERO;
        if let Some(slot) = fleet.observe(&a, Observation { report, age }, NOW) {
            index.set_capacity(slot, 1_000);
            let chain: Vec<BlockHash> = chain.iter().copied().map(BlockHash).collect();
            index.insert(slot, &chain);
        }
        let mut digest = BeliefDigest::default();
        fleet.iter().for_each(|(slot, entry)| add(&mut digest, slot, entry, &index));
        digest
    }

    #[test]
    fn the_order_in_which_endpoints_came_does_not_count() {
        assert_eq!(believed(["a", "b"], 1, &[1, 2]), believed(["b", "a"], 1, &[1, 2]));
    }

    #[test]
    fn each_kind_of_belief_has_its_own_number() {
        let one = believed(["a", "b"], 1, &[1, 2]);
        let loaded = believed(["a", "b"], 2, &[1, 2]);
        assert_ne!(one.reports, loaded.reports);
        assert_eq!(BeliefDigest { reports: 0, ..one }, BeliefDigest { reports: 0, ..loaded });
        let warmer = believed(["a", "b"], 1, &[1, 2, 3]);
        assert_ne!(one.prefixes, warmer.prefixes);
        assert_eq!(BeliefDigest { prefixes: 0, ..one }, BeliefDigest { prefixes: 0, ..warmer });
        assert_ne!(one.endpoints, believed(["a", "c"], 1, &[1, 2]).endpoints);
        assert_ne!(one.all(), warmer.all());
    }
}
