//! What the scheduler publishes to peers: its open work, its placements, and the reports of the endpoints it keeps.
//!
//! Must not know lanes or sequence numbers; the fact log numbers what is published here.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fleet::{Entry, LoadReport, Process, Tenancy};
use crate::id::{BlockHash, EndpointKey, Slot};
use crate::replication::{EndpointLoad, InFlightReport, Placement, PlacementRevoked, Record};
use crate::scheduler::{HistoryWalk, Outbox, Scheduler};
use crate::time::Timestamp;

/// An unchanged report is published again after this time. It is below the usual scrape interval, so a peer's belief is
/// at most one interval and one transit old. Unchanged reports of engines that are scraped faster are not published
/// more often.
const REPEAT_AFTER: Duration = Duration::from_millis(40);
/// A smaller change of KV use is not news. (Replayed: a step of a hundredth costs a twentieth of TTFT, because it hides
/// which of two engines has more room. A thousandth can cost it too. Half a thousandth decides as the reading itself
/// does in the agents' trace, and still keeps views equal once load is quiet.)
const KV_QUANTUM: f64 = 0.0005;

/// When each endpoint's load was last published, to avoid needless repeats.
#[derive(Debug, Default)]
pub(super) struct AnnouncedLoads {
    sharing: bool,
    loads: BTreeMap<EndpointKey, Timestamp>,
}

// === impl AnnouncedLoads ===

impl AnnouncedLoads {
    pub(super) fn new(sharing: bool) -> Self {
        Self { sharing, loads: BTreeMap::new() }
    }

    /// Keeps the believed KV use until a reading differs by a quantum, for this replica as for its peers. Otherwise
    /// their views would differ while a reading is in transit.
    pub(super) fn steady(&self, entry: &Entry, report: &mut LoadReport) {
        let believed = entry.report().and_then(LoadReport::kv_usage).filter(|_| self.sharing);
        if let (Some(believed), Some(read)) = (believed, report.kv_usage())
            && (believed - read).abs() < KV_QUANTUM
        {
            report.kv_usage = believed;
        }
    }

    /// Publishes an own reading of the endpoint in `entry` if it differs from what is believed, if it settles
    /// dispatches that no report covers, or if the last published one is old.
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
        // The process is published separately, and once.
        let report = LoadReport { process: Process::default(), ..report.clone() };
        publish.push((Record::Load(EndpointLoad { endpoint, report }), measured));
    }

    /// Publishes that a listener can't be reached.
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

    /// Publishes that an endpoint left the pool, which voids what was published about it.
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

// === impl Scheduler: publishing ===

impl Scheduler {
    pub(super) fn publish_placement(&self, slot: Slot, anchors: &[BlockHash], now: Timestamp, out: &mut Outbox) {
        let Some(entry) = self.fleet.get(slot).filter(|_| self.announced.sharing) else { return };
        let endpoint = entry.endpoint.id.key();
        out.publish.push((Record::Placement(Placement { endpoint, anchors: anchors.to_vec() }), now));
    }

    pub(super) fn publish_revocation(
        &self,
        slot: Slot,
        anchors: &[BlockHash],
        kept: usize,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        let Some(entry) = self.fleet.get(slot).filter(|_| self.announced.sharing) else { return };
        let (endpoint, kept) = (entry.endpoint.id.key(), u16::try_from(kept).unwrap_or(u16::MAX));
        out.publish
            .push((Record::PlacementRevoked(PlacementRevoked { endpoint, anchors: anchors.to_vec(), kept }), now));
    }

    /// The history that a joiner gets first: cache losses with their ages, then placements, then the newest session
    /// bindings. Placements by earlier incarnations and lost peers are advertised nowhere else. There are at most
    /// `most` placements, spread evenly over the endpoints, the newest last, and at most as many bindings.
    pub fn history(&self, most: usize, now: Timestamp) -> Vec<(Record, Duration)> {
        let mut walk = HistoryWalk::new(most);
        let mut history = Vec::new();
        while self.history_some(&mut walk, &mut history, now) {}
        history
    }

    pub(super) fn publish_in_flight(&self, slot: Slot, now: Timestamp, out: &mut Outbox) {
        let Some(entry) = self.fleet.get(slot).filter(|_| self.announced.sharing) else { return };
        let report = InFlightReport::of(entry.endpoint.id.key(), entry.in_flight, entry.speed);
        out.publish.push((Record::InFlight(report), now));
    }

    pub(super) fn publish_in_flight_of(&self, tenancy: Tenancy, now: Timestamp, out: &mut Outbox) {
        if self.fleet.tenant_of(tenancy).is_some() {
            self.publish_in_flight(tenancy.slot, now, out);
        }
    }
}
