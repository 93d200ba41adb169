//! When a replica that joins may call itself ready: it has heard what the others knew.
//!
//! Must not know what readiness is used for.

use std::collections::BTreeSet;
use std::time::Duration;

use murmuration::id::ReplicaId;
use tokio::sync::watch;
use tokio::time::timeout;

use super::states::Streams;
use crate::replication::Members;

/// How long a joiner waits for the others. One that can't be reached must not keep it from serving.
pub const CATCH_UP_PATIENCE: Duration = Duration::from_secs(3);

/// Resolves once every member that the members names *now*, and that can be followed, has delivered by stream all that it
/// had said when the stream came up; a member that leaves meanwhile is not waited for. `false` when
/// [`CATCH_UP_PATIENCE`] ran out before. Call it when membership has had its first word: of an empty members nobody is
/// waited for.
pub async fn caught_up(mut members: watch::Receiver<Members>, mut streams: watch::Receiver<Streams>) -> bool {
    let awaited: Vec<ReplicaId> =
        super::follow::followed(&members.borrow_and_update()).map(|m| m.replica.clone()).collect();
    let all = async {
        loop {
            let living: BTreeSet<ReplicaId> = members.borrow_and_update().iter().map(|m| m.replica.clone()).collect();
            let done = {
                let streams = streams.borrow_and_update();
                let done = |who: &ReplicaId| streams.get(who).is_some_and(|state| state.caught_up);
                awaited.iter().all(|who| done(who) || !living.contains(who))
            };
            if done {
                return true;
            }
            let gone = tokio::select! {
                biased;
                changed = streams.changed() => changed.is_err(),
                changed = members.changed() => changed.is_err(),
            };
            if gone {
                return false;
            }
        }
    };
    timeout(CATCH_UP_PATIENCE, all).await.unwrap_or(false)
}
