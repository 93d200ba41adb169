//! `nothing_is_unbounded`.
//!
//! Must not know how a bound is kept; the table in ARCHITECTURE.md says which there are.

use murmuration::fleet::ENDPOINTS_MAX;
use murmuration::replication::peers::PEERS_MAX;

use super::{About, Broken, Invariant, Scene, broken};
use crate::history::Entry;

/// Bytes of the prefix index: the default of `--prefix-index-size`.
const INDEX_BYTES_MAX: u64 = 256 << 20;
/// Open tickets: `--max-streams`.
const TICKETS_MAX: u64 = 10_000;
/// Dispatches of one origin to one endpoint that the endpoint's last report can't include yet.
const UNSEEN_MAX: usize = 4_096;

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct NothingIsUnbounded;

// === impl NothingIsUnbounded ===

impl Invariant for NothingIsUnbounded {
    fn about(&self) -> About {
        About::safety(
            "nothing_is_unbounded",
            "the prefix index, open tickets, unseen dispatches, peers and endpoints stay within their declared bounds",
        )
    }

    fn see(&mut self, entry: &Entry, _scene: &Scene) -> Result<(), Broken> {
        let Some((replica, snapshot)) = entry.snapshot() else { return Ok(()) };
        let fleet = &snapshot.fleet;
        let unseen = fleet.endpoints.iter().map(|endpoint| endpoint.unseen).max().unwrap_or_default();
        let bounds = [
            ("bytes of prefix index", fleet.index_bytes, INDEX_BYTES_MAX),
            ("open tickets", fleet.tickets.open, TICKETS_MAX),
            ("unseen dispatches on one endpoint", unseen as u64, (UNSEEN_MAX * (fleet.peers.len() + 1)) as u64),
            ("peers", fleet.peers.len() as u64, PEERS_MAX as u64),
            ("endpoints", fleet.endpoints.len() as u64, ENDPOINTS_MAX as u64),
        ];
        match bounds.into_iter().find(|(_, is, most)| is > most) {
            Some((what, is, most)) => broken!("replica-{replica} has {is} {what}, at most {most}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::HistoryBuilder;

    fn with_snapshot(index: u64, tickets: u64, unseen: usize) -> HistoryBuilder {
        let mut history = HistoryBuilder::calm();
        history.sees(0, |snapshot| {
            (snapshot.fleet.index_bytes, snapshot.fleet.tickets.open) = (index, tickets);
            snapshot.fleet.endpoints[3].unseen = unseen;
        });
        history
    }

    #[test]
    fn each_bound_is_legal_and_one_more_is_not() {
        assert_eq!(with_snapshot(INDEX_BYTES_MAX, TICKETS_MAX, 3 * UNSEEN_MAX).check(NothingIsUnbounded), Ok(()));
        with_snapshot(INDEX_BYTES_MAX + 1, 0, 0).breaks(NothingIsUnbounded, "bytes of prefix index");
        with_snapshot(0, TICKETS_MAX + 1, 0).breaks(NothingIsUnbounded, "open tickets");
        with_snapshot(0, 0, 3 * UNSEEN_MAX + 1).breaks(NothingIsUnbounded, "unseen dispatches");
    }
}
