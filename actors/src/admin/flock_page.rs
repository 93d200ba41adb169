//! `/debug/peers`: every replica that is known, by whichever way.
//!
//! Must not know how liveness is found out or how streams work.

use std::collections::BTreeSet;

use murmuration::id::{Incarnation, ReplicaId};
use murmuration::scheduler::BeliefDigest;
use murmuration::share::PeerSummary;
use serde_json::{Value, json};

use crate::flock::FlockView;

/// The page: the roster, the streams, and what the scheduler's books say, joined by name. Replicas that believe the same have
/// the same digest.
pub(super) fn flock_page(
    me: &(ReplicaId, Incarnation),
    flock: Option<&FlockView>,
    heard: &[PeerSummary],
    digest: BeliefDigest,
) -> Value {
    let roster = flock.map(|flock| flock.roster.borrow().clone()).unwrap_or_default();
    let streams = flock.and_then(|flock| flock.streams.as_ref()).map(|streams| streams.borrow().clone());
    let streams = streams.unwrap_or_default();
    let names: BTreeSet<&ReplicaId> =
        roster.iter().map(|m| &m.replica).chain(streams.keys()).chain(heard.iter().map(|peer| &peer.replica)).collect();
    let peers = names.into_iter().map(|name| {
        let stream = streams.get(name).map(|stream| {
            json!({
                "connected": stream.connected,
                "caught_up": stream.caught_up,
                "upto": stream.upto,
                "why": stream.why,
            })
        });
        json!({
            "replica": name,
            "member": roster.iter().find(|member| member.replica == *name),
            "stream": stream,
            "heard": heard.iter().find(|peer| peer.replica == *name),
        })
    });
    json!({
        "replica": me.0,
        "incarnation": me.1,
        "sharing": flock.is_some(),
        "digest": digest,
        "peers": peers.collect::<Vec<_>>(),
    })
}
