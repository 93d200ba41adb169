//! `/debug/peers`: every replica that is known, from any source.
//!
//! Must not know how liveness is found out or how streams work.

use std::collections::BTreeSet;

use murmuration::id::{Incarnation, ReplicaId};
use murmuration::replication::PeerSummary;
use murmuration::scheduler::BeliefDigest;
use serde_json::{Value, json};

use crate::replication::ReplicationView;

/// The page: the members, the streams, and the scheduler's records of peers, joined by name. Replicas with equal
/// beliefs have equal digests.
pub(super) fn replication_page(
    me: &(ReplicaId, Incarnation),
    replication: Option<&ReplicationView>,
    summaries: &[PeerSummary],
    digest: BeliefDigest,
) -> Value {
    let members = replication.map(ReplicationView::of_pool).unwrap_or_default();
    let streams =
        replication.and_then(|replication| replication.streams.as_ref()).map(|streams| streams.borrow().clone());
    let streams = streams.unwrap_or_default();
    let names: BTreeSet<&ReplicaId> = members
        .iter()
        .map(|m| &m.replica)
        .chain(streams.keys())
        .chain(summaries.iter().map(|peer| &peer.replica))
        .collect();
    let peers = names.into_iter().map(|name| {
        let stream = streams.get(name).map(|stream| {
            json!({
                "connected": stream.connected,
                "via": stream.via,
                "caught_up": stream.caught_up,
                "upto": stream.upto,
                "why": stream.why,
            })
        });
        json!({
            "replica": name,
            "member": members.iter().find(|member| member.replica == *name),
            "stream": stream,
            "heard": summaries.iter().find(|peer| peer.replica == *name),
        })
    });
    json!({
        "replica": me.0,
        "incarnation": me.1,
        "sharing": replication.is_some(),
        "digest": digest,
        "peers": peers.collect::<Vec<_>>(),
    })
}
