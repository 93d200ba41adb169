//! chitchat as the lane uses it: starts it, reads the living members, sets this replica's values, and ends it.
//!
//! Must not know what values mean, beyond the card, the head and the salt.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chitchat::{
    Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, ListenerHandle, spawn_chitchat,
};
use murmuration::id::{Incarnation, ReplicaId};
use murmuration::replication::codec::NAME_BYTES_MAX;
use murmuration::replication::{Member, POOLS_MAX, ReplicaCard, SaltClaim};
use tokio::sync::{MutexGuard, Notify};

use super::settings::GossipError;
use super::transport::LinkTransport;
use super::{CARD, HEAD, SALT, head_key};
use crate::environment::PeerFeed;

/// Silence, in mean gaps between a peer's heartbeats, after which it counts as dead.
const PHI: f64 = 8.0;
/// Gaps that the mean is taken over, besides five of [`GAP`]. They are few, so that the mean has a floor. Pushed gossip
/// comes every few milliseconds, and a mean of those gaps would declare a peer dead after one hiccup. With two, death
/// is declared after 0.86 s to 0.97 s of silence at any interval up to 50 ms, and after 2 s at 500 ms.
const GAPS: usize = 2;
/// The gap that is assumed before any was measured.
const GAP: Duration = Duration::from_millis(150);
/// Longer gaps are ignored: one of the two replicas was frozen.
const GAP_MAX: Duration = Duration::from_secs(1);
/// How long dead peers are remembered.
const DEAD_FOR: Duration = Duration::from_secs(60);

/// What chitchat is started with, besides its transport.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) me: ReplicaId,
    pub(super) advertise: SocketAddr,
    pub(super) seeds: Vec<String>,
    pub(super) found: Option<PeerFeed>,
    pub(super) tier: String,
    pub(super) interval: Duration,
}

/// The living peers.
#[derive(Debug)]
pub(super) struct Living {
    pub(super) others: Vec<(Member, ChitchatId)>,
    /// Their salt claims; none from those whose salt was configured.
    pub(super) salts: Vec<SaltClaim>,
}

/// A running chitchat. Dropping it ends it at once.
pub(super) struct Server {
    handle: ChitchatHandle,
    chitchat: Arc<tokio::sync::Mutex<Chitchat>>,
    _changes: ListenerHandle,
}

// === impl Server ===

impl Server {
    /// Starts chitchat with the first `card`; `changed` is notified of every value that arrives.
    pub(super) async fn start(
        config: ChitchatConfig,
        card: String,
        transport: LinkTransport,
        changed: Arc<Notify>,
    ) -> Result<Self, GossipError> {
        let handle = spawn_chitchat(config, vec![(CARD.to_owned(), card)], &transport)
            .await
            .map_err(|error| GossipError::Socket(format!("{error:#}")))?;
        let chitchat = handle.chitchat();
        let listener = chitchat.lock().await.subscribe_event("", move |_| changed.notify_one());
        Ok(Self { handle, chitchat, _changes: listener })
    }

    /// The other living replicas, each in its newest incarnation, once their card has arrived.
    pub(super) async fn living(&self) -> Living {
        let chitchat = self.chitchat().await;
        let me = &chitchat.self_chitchat_id().node_id;
        let mut newest: BTreeMap<&str, &ChitchatId> = BTreeMap::new();
        let named = |id: &&ChitchatId| id.node_id != *me && (1..=NAME_BYTES_MAX).contains(&id.node_id.len());
        for id in chitchat.live_nodes().filter(named) {
            let known = newest.entry(&id.node_id).or_insert(id);
            if known.generation_id < id.generation_id {
                *known = id;
            }
        }
        let salt = |id: &&ChitchatId| chitchat.node_state(id)?.get(SALT)?.parse().ok();
        let salts = newest.values().copied().filter_map(|id| salt(&id)).collect();
        let others = newest.into_values().filter_map(|id| Some((member(&chitchat, id)?, id.clone()))).collect();
        Living { others, salts }
    }

    /// Sets values of this replica.
    pub(super) async fn set(&self, values: Vec<(String, String)>) {
        let mut chitchat = self.chitchat().await;
        let state = chitchat.self_node_state();
        values.into_iter().for_each(|(key, value)| state.set(key, value));
    }

    /// Gossips with `address` now, not only at its next turn.
    pub(super) fn push(&self, address: SocketAddr) {
        // Fails only when the server has ended, which is reported elsewhere.
        drop(self.handle.gossip(address));
    }

    /// Locks the state of chitchat.
    pub(super) async fn chitchat(&self) -> MutexGuard<'_, Chitchat> {
        self.chitchat.lock().await
    }

    /// Resolves with the reason when chitchat has ended.
    pub(super) fn ended(&self) -> impl Future<Output = String> + use<> {
        let ended = self.handle.termination_watcher();
        async move { ended.await.err().map_or_else(|| "it was stopped".to_owned(), |error| format!("{error:#}")) }
    }

    /// Ends chitchat once it has sent what it was asked to send.
    pub(super) async fn stop(&self) {
        if self.handle.initiate_shutdown().is_ok() {
            self.ended().await;
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// chitchat's settings for this incarnation.
pub(super) fn config(plan: &Plan, incarnation: Incarnation) -> ChitchatConfig {
    ChitchatConfig {
        chitchat_id: ChitchatId::new(plan.me.0.as_str(), incarnation.0, plan.advertise),
        cluster_id: plan.tier.clone(),
        gossip_interval: plan.interval,
        // Not used: the transport already has its socket.
        listen_addr: plan.advertise,
        seed_nodes: plan.seeds.clone(),
        failure_detector_config: FailureDetectorConfig::new(PHI, GAPS, GAP_MAX, GAP, DEAD_FOR),
        marked_for_deletion_grace_period: DEAD_FOR,
        catchup_callback: None,
        // chitchat's own list of living nodes is not used. With nodes in it, chitchat would copy all their values into
        // it in each round that changed any value: a tenth of a loaded tier's processor time.
        extra_liveness_predicate: Some(Box::new(|_| false)),
    }
}

fn member(chitchat: &Chitchat, id: &ChitchatId) -> Option<Member> {
    let state = chitchat.node_state(id)?;
    let card: ReplicaCard = serde_json::from_str(state.get(CARD)?).ok()?;
    let head = state.get(HEAD).and_then(|head| head.parse().ok()).unwrap_or(0);
    let replica = ReplicaId(id.node_id.to_string());
    let head_of = |pool: &String| Some((pool.clone(), state.get(&head_key(pool))?.parse().ok()?));
    let heads = card.pools.iter().take(POOLS_MAX).filter_map(head_of).collect();
    Some(Member { replica, incarnation: Incarnation(id.generation_id), card, head, heads })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_detection_is_neither_hasty_nor_late() {
        let silence = |gap: f64| PHI * (GAPS as f64 * gap + 5.0 * GAP.as_secs_f64()) / (GAPS as f64 + 5.0);
        assert!(silence(0.0) > 0.8, "however often peers push: {}", silence(0.0));
        assert!(silence(0.05) < 1.0, "at the usual interval, a second is left for the grace period: {}", silence(0.05));
        assert!(silence(0.5) <= 2.0, "{}", silence(0.5));
    }
}
