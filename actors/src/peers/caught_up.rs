//! When a joining replica is ready: it has received what its peers knew.
//!
//! Must not know what readiness is used for.

use std::collections::BTreeSet;
use std::time::Duration;

use murmuration::id::{PoolId, ReplicaId};
use tokio::sync::watch;
use tokio::time::timeout;

use super::states::Streams;
use crate::replication::Members;

/// How long a joiner waits for its peers. A peer that can't be reached must not keep it from serving.
pub const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(3);

/// Resolves once every member that `members` names *now*, and that can be followed for `pool`, has delivered by stream
/// all facts up to its head when the stream came up. A member that leaves meanwhile is not waited for. `false` when
/// [`CATCH_UP_TIMEOUT`] ran out before. Call it after the first update of the membership: with an empty list it
/// resolves at once.
pub async fn caught_up(
    pool: &PoolId,
    mut members: watch::Receiver<Members>,
    mut streams: watch::Receiver<Streams>,
) -> bool {
    let awaited: Vec<ReplicaId> =
        super::follow::followed(pool, &members.borrow_and_update()).map(|m| m.replica).collect();
    let all = async {
        loop {
            let living: BTreeSet<ReplicaId> = members.borrow_and_update().iter().map(|m| m.replica.clone()).collect();
            let done = {
                let streams = streams.borrow_and_update();
                let done = |replica: &ReplicaId| streams.get(replica).is_some_and(|state| state.caught_up);
                awaited.iter().all(|replica| done(replica) || !living.contains(replica))
            };
            if done {
                return true;
            }
            let closed = tokio::select! {
                biased;
                changed = streams.changed() => changed.is_err(),
                changed = members.changed() => changed.is_err(),
            };
            if closed {
                return false;
            }
        }
    };
    timeout(CATCH_UP_TIMEOUT, all).await.unwrap_or(false)
}
