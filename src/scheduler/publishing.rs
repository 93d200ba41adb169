//! What the scheduler gives its peers to know: its open work, its placements, and the reports of the endpoints it keeps.
//!
//! Must not know lanes or numbers; the fact_log numbers what is said here.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fleet::{Entry, LoadReport, Process, Tenancy};
use crate::id::{BlockHash, EndpointKey, Slot};
use crate::replication::{EndpointLoad, InFlightReport, Placement, PlacementRevoked, Record};
use crate::scheduler::{HistoryWalk, Outbox, Scheduler};
use crate::time::Timestamp;

/// A report that says nothing new is said again after this time. Below the usual interval of scrapes, so that what peers
/// believe is one interval and one way old at most; engines that are scraped faster are not told of more often for nothing.
const REPEAT_AFTER: Duration = Duration::from_millis(40);
/// KV use that differs by less is nothing new. (Replayed: a hundredth costs a twentieth of TTFT, for it hides which of two
/// engines has more room, and a thousandth can; half of one decides as the reading itself does in the agents' trace, and still
/// keeps views equal once load is quiet.)
const KV_QUANTUM: f64 = 0.0005;

/// When each endpoint's load was said last, so that it is not said again for nothing.
#[derive(Debug, Default)]
pub(super) struct Said {
    sharing: bool,
    loads: BTreeMap<EndpointKey, Timestamp>,
}

// === impl Said ===

impl Said {
    pub(super) fn new(sharing: bool) -> Self {
        Self { sharing, loads: BTreeMap::new() }
    }

    /// Holds KV use where it is believed to be until it differs by a quantum, for this replica as for its peers: else each
    /// reading that is on its way would make two views of one.
    pub(super) fn steady(&self, entry: &Entry, report: &mut LoadReport) {
        let believed = entry.report().and_then(LoadReport::kv_usage).filter(|_| self.sharing);
        if let (Some(believed), Some(read)) = (believed, report.kv_usage())
            && (believed - read).abs() < KV_QUANTUM
        {
            report.kv_usage = believed;
        }
    }

    /// Says an own reading of the endpoint in `entry`, when it differs from what is believed, when it settles dispatches
    /// that no report knew, or when the last word is old.
    pub(super) fn load(
        &mut self,
        entry: &Entry,
        report: &LoadReport,
        measured: Timestamp,
        publish: &mut Vec<(Record, Timestamp)>,
    ) {
        if !self.sharing {
            return;
        }
        let endpoint = entry.endpoint.id.key();
        let recent = self.loads.get(&endpoint).is_some_and(|at| measured.since(*at) < REPEAT_AFTER);
        let same = entry.report().is_some_and(|believed| !differs(believed, report));
        if recent && same && entry.unseen() == 0 {
            return;
        }
        self.loads.insert(endpoint, measured);
        // Of which process it is, is said by itself and once.
        let report = LoadReport { process: Process::default(), ..report.clone() };
        publish.push((Record::Load(EndpointLoad { endpoint, report }), measured));
    }

    /// Says that a listener is gone, once.
    pub(super) fn unreachable(
        &mut self,
        endpoint: EndpointKey,
        now: Timestamp,
        publish: &mut Vec<(Record, Timestamp)>,
    ) {
        if self.sharing {
            self.loads.remove(&endpoint);
            publish.push((Record::Unreachable(endpoint), now));
        }
    }

    /// An endpoint is no longer in the pool: what was said of it is void.
    pub(super) fn withdraw(&mut self, endpoint: EndpointKey, now: Timestamp, publish: &mut Vec<(Record, Timestamp)>) {
        if self.sharing {
            self.loads.remove(&endpoint);
            publish.push((Record::Removed(endpoint), now));
        }
    }
}

fn differs(believed: &LoadReport, report: &LoadReport) -> bool {
    (believed.waiting, believed.running, believed.awake) != (report.waiting, report.running, report.awake)
        || (believed.kv_usage, believed.missing) != (report.kv_usage, report.missing)
        || (&believed.adapters, believed.cache) != (&report.adapters, report.cache)
}

// === impl Scheduler: saying ===

impl Scheduler {
    pub(super) fn say_placement(&self, slot: Slot, anchors: &[BlockHash], now: Timestamp, out: &mut Outbox) {
        let Some(entry) = self.fleet.get(slot).filter(|_| self.said.sharing) else { return };
        let endpoint = entry.endpoint.id.key();
        out.publish.push((Record::Placement(Placement { endpoint, anchors: anchors.to_vec() }), now));
    }

    pub(super) fn say_unplaced(
        &self,
        slot: Slot,
        anchors: &[BlockHash],
        kept: usize,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        let Some(entry) = self.fleet.get(slot).filter(|_| self.said.sharing) else { return };
        let (endpoint, kept) = (entry.endpoint.id.key(), u16::try_from(kept).unwrap_or(u16::MAX));
        out.publish
            .push((Record::PlacementRevoked(PlacementRevoked { endpoint, anchors: anchors.to_vec(), kept }), now));
    }

    /// Where prefixes are believed to be, as placements: what a replica that joins is told first, for what earlier lives and
    /// lost peers placed nobody says any more. Before them which caches were lost, and when. At most `most`, spread evenly over the endpoints, the newest last. With them
    /// the newest bindings of sessions, as many again.
    pub fn history(&self, most: usize, now: Timestamp) -> Vec<(Record, Duration)> {
        let mut walk = HistoryWalk::new(most);
        let mut history = Vec::new();
        while self.history_some(&mut walk, &mut history, now) {}
        history
    }

    pub(super) fn publish_in_flight(&self, slot: Slot, now: Timestamp, out: &mut Outbox) {
        let Some(entry) = self.fleet.get(slot).filter(|_| self.said.sharing) else { return };
        let share = InFlightReport::of(entry.endpoint.id.key(), entry.in_flight);
        out.publish.push((Record::InFlight(share), now));
    }

    pub(super) fn publish_in_flight_of(&self, tenancy: Tenancy, now: Timestamp, out: &mut Outbox) {
        if self.fleet.tenant_of(tenancy).is_some() {
            self.publish_in_flight(tenancy.slot, now, out);
        }
    }
}
