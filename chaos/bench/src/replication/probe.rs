//! One request that can be recognised on every replica: by its size, at an endpoint that is known in advance.
//!
//! Must not know lanes, or which replica gets the request.

use std::net::SocketAddr;
use std::time::Duration;

use murmuration::chance::mix;
use murmuration::id::{BlockHash, EndpointKey};
use murmuration::prefix::PrefixChain;
use murmuration::request::{InferenceRequest, Prompt};
use murmuration::scheduler::{EndpointSummary, FleetSummary};
use murmuration_actors::scheduler::SchedulerHandle;
use tokio::time::Instant;

use crate::Failure;

/// Blocks of a probe's prompt; the load's requests have some sixty each.
const BLOCKS: u64 = 4_096;
/// Tokens of a block, as the engines report them.
const BLOCK_TOKENS: u32 = 16;

/// A probe request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    number: u64,
    /// Where it goes.
    pub(super) at: SocketAddr,
}

/// What a replica knows of an endpoint, as far as probes change it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    foreign_tokens: u64,
    blocks: u64,
}

/// What a replica knows of the endpoint at `at`.
pub(super) async fn held(scheduler: &SchedulerHandle, at: SocketAddr) -> Result<Held, Failure> {
    let summary = scheduler.summary().await.ok_or("a replica does not answer")?;
    Held::of(&summary, at).ok_or_else(|| format!("the endpoint {at} has left the pool"))
}

/// An error once more than `patience` has passed since then; `what` has not happened.
pub(super) fn check_deadline(since: Instant, patience: Duration, what: &str) -> Result<(), Failure> {
    if since.elapsed() < patience { Ok(()) } else { Err(format!("{what} within {patience:?}")) }
}

// === impl Probe ===

impl Probe {
    /// The probe `number`, which goes to the endpoint at `at` alone.
    pub(super) fn new(number: u64, at: SocketAddr) -> Self {
        Self { number, at }
    }

    /// The request as a replica gets it.
    pub(super) fn request(self) -> InferenceRequest {
        let hash = |block: u64| BlockHash(mix(mix(u64::MAX - self.number) ^ block));
        let chain = PrefixChain::from_blocks(BLOCK_TOKENS, (0..BLOCKS).map(hash).collect());
        let tokens = BLOCKS * u64::from(BLOCK_TOKENS);
        InferenceRequest {
            id: format!("probe-{}", self.number),
            incoming_model: "base".to_owned(),
            target_model: "base".to_owned(),
            prompt: Prompt::estimated(tokens, 0, chain),
            content_hash: mix(u64::MAX - self.number),
            streaming: true,
            body_bytes: tokens * 4,
            fairness_id: "default-flow".to_owned(),
            subset: Some(vec![self.at].into()),
            sees_response: true,
            ..InferenceRequest::default()
        }
    }
}

// === impl Held ===

impl Held {
    /// What `summary` says of the endpoint at `at`.
    pub(super) fn of(summary: &FleetSummary, at: SocketAddr) -> Option<Self> {
        let held = |e: &EndpointSummary| Self { foreign_tokens: e.foreign.prefill_tokens, blocks: e.index_blocks };
        endpoint(summary, at).map(held)
    }

    /// Whether a peer's probe is in flight now that was not at `before`.
    pub(super) fn has_its_work(self, before: Self) -> bool {
        self.foreign_tokens >= before.foreign_tokens + BLOCKS * u64::from(BLOCK_TOKENS) / 2
    }

    /// Whether a probe's prefix is placed now that was not at `before`.
    pub(super) fn has_its_prefix(self, before: Self) -> bool {
        self.blocks >= before.blocks + BLOCKS / 2
    }
}

/// What `summary` says of the endpoint at `at`.
pub(super) fn endpoint(summary: &FleetSummary, at: SocketAddr) -> Option<&EndpointSummary> {
    summary.endpoints.iter().find(|one| one.endpoint.address == at)
}

/// The key of the endpoint at `at`.
pub(super) fn key(summary: &FleetSummary, at: SocketAddr) -> Option<EndpointKey> {
    endpoint(summary, at).map(|one| one.endpoint.id.key())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use murmuration::config;
    use murmuration::fleet::{Endpoint, EndpointChange};
    use murmuration::id::{EndpointId, Incarnation, ReplicaId, Ticket};
    use murmuration::replication::FactLog;
    use murmuration::request::Asked;
    use murmuration::scheduler::{Input, Outbox, Scheduler};
    use murmuration::time::Timestamp;

    use super::*;
    use crate::pool;

    fn scheduler(at: SocketAddr) -> Scheduler {
        let (mut scheduler, _) = pool::scheduler(config::default_text(), pool::INDEX_BYTES_MAX).unwrap();
        let endpoint = Endpoint { id: EndpointId::new("bench", "e"), address: at, labels: Default::default() };
        let found = Input::Discovered(vec![EndpointChange::Upsert(endpoint)]);
        scheduler.handle(found, Timestamp::ZERO, &mut Outbox::default());
        scheduler
    }

    #[test]
    fn a_peer_that_receives_a_probe_shows_its_work_and_its_prefix() {
        let at = "127.0.0.1:8000".parse().unwrap();
        let (mut asked, mut peer, mut outbox) = (scheduler(at), scheduler(at), Outbox::default());
        let now = Timestamp::ZERO;
        let request = Probe::new(1, at).request();
        asked.handle(Input::Asked(Asked::new(Ticket(1), request)), now, &mut outbox);
        let mut fact_log = FactLog::new(ReplicaId("r0".to_owned()), Incarnation(1));
        outbox.publish.drain(..).for_each(|(record, at)| fact_log.publish(record, at));
        let before = Held::of(&peer.summary(now), at).unwrap();
        assert!(!before.has_its_work(before) && !before.has_its_prefix(before));
        let batch = Box::new(fact_log.since(0, 100, now).unwrap());
        peer.handle(Input::Batch(batch), now, &mut outbox);
        let held = Held::of(&peer.summary(now), at).unwrap();
        assert!(held.has_its_work(before) && held.has_its_prefix(before), "{held:?} after {before:?}");
    }
}
