//! The connections to peers: one for each peer, shared by the streams of all pools. A stream that calls again has a new
//! connection, which later calls share, so a peer has at most one for each pool.
//!
//! Must not know what is called over a connection. One that a call ended on is never used for another call: what broke
//! it, and which certificates it began with, is not known. It ends with the last stream on it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use murmuration::id::ReplicaId;
use tokio::sync::Mutex as AsyncMutex;
use tonic::transport::Channel;

use super::STREAM_WINDOW;

/// Peers and addresses beyond which places without a connection are given up.
const KEPT_MAX: usize = murmuration::replication::peers::PEERS_MAX;

/// Streams of one pool on one connection that have room each: the peer's own, and those of whom it relays.
const RELAYED_MAX: usize = 8;

/// The connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connections {
    places: Arc<Mutex<BTreeMap<(ReplicaId, SocketAddr), Place>>>,
    window: u32,
}

/// The place of one connection. Whoever holds the lock may dial.
type Place = Arc<AsyncMutex<Weak<PeerConnection>>>;

/// A connection, for as long as a stream holds it.
#[derive(Debug)]
pub(super) struct PeerConnection {
    pub(super) channel: Channel,
    /// Set when a call on it has ended.
    over: AtomicBool,
}

// === impl Connections ===

impl Connections {
    /// For the streams of this many pools. Each has its own window, so one that is not read leaves room for the others;
    /// there are more streams than pools where a peer relays.
    pub fn new(pools: usize) -> Self {
        let streams = u32::try_from(pools.max(1) * RELAYED_MAX).unwrap_or(u32::MAX);
        Self { places: Arc::default(), window: STREAM_WINDOW.saturating_mul(streams) }
    }

    /// Unread bytes in flight on one connection.
    pub(super) fn window(&self) -> u32 {
        self.window
    }

    /// The connection to `peer` at `address`, or the one that `dial` makes.
    pub(super) async fn to<E>(
        &self,
        peer: &ReplicaId,
        address: SocketAddr,
        dial: impl Future<Output = Result<Channel, E>>,
    ) -> Result<Arc<PeerConnection>, E> {
        let place = self.place(peer, address);
        let mut held = place.lock().await;
        if let Some(known) = held.upgrade().filter(|known| !known.over.load(Ordering::Relaxed)) {
            return Ok(known);
        }
        let dialed = Arc::new(PeerConnection { channel: dial.await?, over: AtomicBool::new(false) });
        *held = Arc::downgrade(&dialed);
        Ok(dialed)
    }

    fn place(&self, peer: &ReplicaId, address: SocketAddr) -> Place {
        // A panic can't leave the map half changed.
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= KEPT_MAX {
            places.retain(|_, place| place.try_lock().map_or(true, |held| held.strong_count() > 0));
        }
        places.entry((peer.clone(), address)).or_default().clone()
    }
}

// === impl PeerConnection ===

impl PeerConnection {
    /// No further call is to begin on it.
    pub(super) fn ended(&self) {
        self.over.store(true, Ordering::Relaxed);
    }
}
