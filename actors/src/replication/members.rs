//! The members, and what follows from their changes: who keeps which endpoint, and whose work is void.
//!
//! Must not know how liveness is detected.

use std::collections::BTreeMap;

use murmuration::event::Event;
use murmuration::id::{PoolId, ReplicaId};
use murmuration::replication::{Keeper, Keepers, Member};
use tokio::sync::watch;

use super::{Keeping, Receiver};

/// The other living replicas, ordered by name.
pub type Members = Vec<Member>;

/// Follows `members` until their sender is gone: reports joined and lost peers, voids the work of lost ones, and
/// recomputes the keepers of each pool.
pub async fn follow_members(
    mut members: watch::Receiver<Members>,
    me: Keeper,
    receiver: Receiver,
    pools: Vec<(PoolId, Keeping)>,
) {
    let mut known: BTreeMap<ReplicaId, Member> = BTreeMap::new();
    loop {
        let living: BTreeMap<ReplicaId, Member> =
            members.borrow_and_update().iter().map(|member| (member.replica.clone(), member.clone())).collect();
        for (replica, member) in &known {
            if living.get(replica).is_none_or(|now| now.incarnation != member.incarnation) {
                receiver.lost(member);
                receiver.emit(&Event::PeerLost { peer: replica.clone(), incarnation: member.incarnation });
            }
        }
        for (replica, member) in &living {
            if known.get(replica).is_none_or(|before| before.incarnation != member.incarnation) {
                receiver.emit(&Event::PeerJoined { peer: replica.clone(), incarnation: member.incarnation });
            }
        }
        for (pool, keeping) in &pools {
            let of = |member: &Member| Keeper { replica: member.replica.clone(), zone: member.card.zone.clone() };
            let staying = living.values().filter(|member| !member.card.draining && member.card.serves(pool)).map(of);
            keeping.set_keepers(Keepers::new(staying.chain([me.clone()]).collect()));
        }
        known = living;
        if members.changed().await.is_err() {
            return;
        }
    }
}
