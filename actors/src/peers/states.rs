//! The state of each stream, seen from the follower, for the admin page and for readiness.
//!
//! Must not know how the states are used.

use std::collections::BTreeMap;
use std::sync::Arc;

use murmuration::id::{Incarnation, ReplicaId};
use murmuration::time::Timestamp;
use tokio::sync::watch;

use super::cursor::Cursor;
use crate::clock::Clock;

/// The streams to all peers that are followed, ordered by name.
pub type Streams = BTreeMap<ReplicaId, StreamState>;

/// The stream to one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamState {
    /// The peer that is followed.
    pub replica: ReplicaId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The replica of this zone that relays it; `None` where it is followed itself.
    pub via: Option<ReplicaId>,
    /// Whether its stream is up.
    pub connected: bool,
    /// Whether the stream has delivered all facts up to the head at its start.
    pub caught_up: bool,
    /// The number up to which all facts were received by stream.
    pub upto: u64,
    /// When the stream went up or down.
    pub since: Timestamp,
    /// Why it went down last, as text for people.
    pub why: Option<String>,
}

/// The states that followers write. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct States {
    streams: Arc<watch::Sender<Streams>>,
    clock: Clock,
}

// === impl States ===

impl States {
    pub(super) fn new(clock: Clock) -> Self {
        Self { streams: Arc::new(watch::channel(Streams::new()).0), clock }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Streams> {
        self.streams.subscribe()
    }

    /// `replica` is followed from now on.
    pub(super) fn added(&self, replica: &ReplicaId, cursor: &Cursor) {
        let (replica, incarnation, since) = (replica.clone(), cursor.incarnation, self.clock.now());
        let state = StreamState {
            replica,
            incarnation,
            via: None,
            connected: false,
            caught_up: false,
            upto: cursor.upto,
            since,
            why: None,
        };
        self.streams.send_modify(|streams| drop(streams.insert(state.replica.clone(), state)));
    }

    /// The stream is up: `via` a replica that relays it, or its own.
    pub(super) fn up(&self, replica: &ReplicaId, via: Option<ReplicaId>, cursor: &Cursor, caught_up: bool) {
        let now = self.clock.now();
        self.change(replica, |state| {
            (state.connected, state.since, state.via) = (true, now, via);
            (state.incarnation, state.upto, state.caught_up) = (cursor.incarnation, cursor.upto, caught_up);
            true
        });
    }

    /// A batch was received. Batches are many, so watchers are woken only by the one that completes the snapshot.
    pub(super) fn received(&self, replica: &ReplicaId, upto: u64, caught_up: bool) {
        self.change(replica, |state| {
            state.upto = upto;
            caught_up && !std::mem::replace(&mut state.caught_up, true)
        });
    }

    /// The stream is down, or did not come up.
    pub(super) fn down(&self, replica: &ReplicaId, why: String) {
        let now = self.clock.now();
        self.change(replica, |state| {
            if std::mem::replace(&mut state.connected, false) {
                state.since = now;
            }
            state.why = Some(why);
            true
        });
    }

    /// `replica` is not followed any more.
    pub(super) fn removed(&self, replica: &ReplicaId) {
        self.streams.send_if_modified(|streams| streams.remove(replica).is_some());
    }

    fn change(&self, replica: &ReplicaId, change: impl FnOnce(&mut StreamState) -> bool) {
        self.streams.send_if_modified(|streams| streams.get_mut(replica).is_some_and(change));
    }
}
