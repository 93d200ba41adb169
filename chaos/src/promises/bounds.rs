//! `nothing_is_unbounded`.
//!
//! Must not know how a bound is kept; the table in ARCHITECTURE.md says which there are.

use murmuration::fleet::ENDPOINTS_MAX;
use murmuration::replication::peers::PEERS_MAX;

use super::{Broken, Promise, Scene, broken};
use crate::chronicle::{Entry, Fact, Witness};

/// Bytes of the prefix index: what `--prefix-index-size` is when nobody says it.
const INDEX_BYTES_MAX: u64 = 256 << 20;
/// Open tickets: `--max-streams`.
const TICKETS_MAX: u64 = 10_000;
/// Dispatches of one origin to one endpoint that its report can't know yet.
const UNSEEN_MAX: usize = 4_096;

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct NothingIsUnbounded;

// === impl NothingIsUnbounded ===

impl Promise for NothingIsUnbounded {
    fn name(&self) -> &'static str {
        "nothing_is_unbounded"
    }

    fn meaning(&self) -> &'static str {
        "index, open tickets, unseen dispatches, peers and endpoints stay within their declared bounds"
    }

    fn see(&mut self, entry: &Entry, _scene: &Scene) -> Result<(), Broken> {
        let (Fact::Looked(look), Witness::Replica(replica, _)) = (&entry.fact, entry.by) else { return Ok(()) };
        let fleet = &look.fleet;
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
    use crate::promises::testing::{Tale, well};

    fn looked(index: u64, tickets: u64, unseen: usize) -> Tale {
        let mut tale = Tale::calm();
        let mut look = well(0);
        (look.fleet.index_bytes, look.fleet.tickets.open) = (index, tickets);
        look.fleet.endpoints[3].unseen = unseen;
        tale.look(0, look);
        tale
    }

    #[test]
    fn a_full_house_is_legal_and_one_more_is_not() {
        assert_eq!(looked(INDEX_BYTES_MAX, TICKETS_MAX, 3 * UNSEEN_MAX).judged(NothingIsUnbounded), Ok(()));
        looked(INDEX_BYTES_MAX + 1, 0, 0).breaks(NothingIsUnbounded, "bytes of prefix index");
        looked(0, TICKETS_MAX + 1, 0).breaks(NothingIsUnbounded, "open tickets");
        looked(0, 0, 3 * UNSEEN_MAX + 1).breaks(NothingIsUnbounded, "unseen dispatches");
    }
}
