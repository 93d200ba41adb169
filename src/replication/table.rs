//! What each peer published about each endpoint: the numbers of its newest facts, and its open work there.
//!
//! Must not know batches, lanes or names of peers. Rows of endpoints that discovery knows are bounded by the pool
//! itself. Discovery is not simultaneous, so peers may publish about others. Those rows have a bound of their own for
//! each peer, and go some time after the last fact. They never take room from an endpoint that is in the pool.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::fleet::{ENDPOINTS_MAX, Failures, InFlight, PrefillSpeed, Unseen};
use crate::id::EndpointKey;
use crate::replication::record::Subject;
use crate::time::Timestamp;

/// How long the numbers of an endpoint outside of the pool are kept after its last fact, unless there is open work on
/// it. It is longer than a relayed gossip page can be late.
pub(super) const LATE_MAX: Duration = Duration::from_secs(60);
/// Endpoints outside of the pool that are kept for each peer. It is a whole pool: a replica that starts may receive
/// from peers before its own discovery.
pub(super) const OUTSIDE_MAX: usize = ENDPOINTS_MAX;

/// The speed of an endpoint of which a peer has seen no first token, or published nothing yet.
const NOTHING_SEEN: Option<PrefillSpeed> = Some(PrefillSpeed { tokens: 0, millis: 0 });

/// Rows that are examined for room when a peer has too many.
const SWEEPS_FOR_ROOM: usize = 8;

/// A peer's number within this table.
pub(super) type PeerNumber = u32;

/// What peers published, by endpoint.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: BTreeMap<EndpointKey, Row>,
    /// One item for each row outside of the pool, roughly in the order in which they may go.
    outside: VecDeque<(Timestamp, EndpointKey)>,
    /// Entries in rows outside of the pool, by peer.
    counts: BTreeMap<PeerNumber, usize>,
}

/// One endpoint.
#[derive(Debug, Default)]
struct Row {
    in_pool: bool,
    /// Whether `outside` has an item for it.
    queued: bool,
    entries: Vec<Entry>,
}

/// What one peer published about one endpoint.
#[derive(Debug)]
struct Entry {
    peer: PeerNumber,
    /// The number of its newest fact on its open work; `0` before the first.
    in_flight_seq: u64,
    /// The number of its newest reading.
    load_seq: u64,
    /// The number of its newest fact on failures.
    failing_seq: u64,
    /// When the last fact arrived.
    received_at: Timestamp,
    /// A snapshot that should have confirmed the open work did not.
    unconfirmed: bool,
    in_flight: InFlight,
    /// `None` if its reports do not say it.
    speed: Option<PrefillSpeed>,
    unseen: Unseen,
    /// Its counts of answers, if it saw failures.
    failures: Option<Failures>,
}

/// The result of recording a fact's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// It is the newest.
    News,
    /// A newer one is known.
    Old,
    /// There is no room for another endpoint outside of the pool.
    Full,
}

// === impl Table ===

impl Table {
    /// Discovery has added `endpoint`.
    pub(super) fn enters(&mut self, endpoint: EndpointKey) {
        let row = self.rows.entry(endpoint).or_default();
        if !std::mem::replace(&mut row.in_pool, true) {
            row.entries.iter().for_each(|entry| uncount(&mut self.counts, entry.peer));
        }
    }

    /// Discovery has removed `endpoint`.
    pub(super) fn leaves(&mut self, endpoint: EndpointKey, now: Timestamp) {
        let Some(row) = self.rows.get_mut(&endpoint) else { return };
        if !std::mem::replace(&mut row.in_pool, false) {
            return;
        }
        row.entries.iter().for_each(|entry| *self.counts.entry(entry.peer).or_default() += 1);
        if row.entries.is_empty() && !row.queued {
            self.rows.remove(&endpoint);
        } else if !std::mem::replace(&mut row.queued, true) {
            self.outside.push_back((now, endpoint));
        }
    }

    /// Records that `peer` published the fact numbered `seq` on `subject`, and the open work, when it is about that.
    pub(super) fn note(
        &mut self,
        peer: PeerNumber,
        subject: Subject,
        seq: u64,
        open: Option<(InFlight, Option<PrefillSpeed>)>,
        now: Timestamp,
    ) -> Noted {
        let Some(entry) = self.entry(peer, subject.endpoint(), now) else { return Noted::Full };
        entry.received_at = now;
        let newest = match subject {
            Subject::InFlight(_) => &mut entry.in_flight_seq,
            Subject::Load(_) => &mut entry.load_seq,
            Subject::Failing(_) => &mut entry.failing_seq,
        };
        if *newest >= seq {
            return Noted::Old;
        }
        *newest = seq;
        if let Some((in_flight, speed)) = open {
            (entry.in_flight, entry.speed, entry.unconfirmed) = (in_flight, speed, false);
        }
        Noted::News
    }

    /// Takes the speed of a fact that is known without it: it came in a format that can't carry it, and now comes by
    /// another lane. Returns whether it is such a fact.
    pub(super) fn completes(
        &mut self,
        peer: PeerNumber,
        subject: Subject,
        seq: u64,
        speed: Option<PrefillSpeed>,
    ) -> bool {
        let (Subject::InFlight(endpoint), Some(_)) = (subject, speed) else { return false };
        let entry =
            self.rows.get_mut(&endpoint).and_then(|row| row.entries.iter_mut().find(|entry| entry.peer == peer));
        let Some(entry) = entry.filter(|entry| entry.in_flight_seq == seq && entry.speed.is_none()) else {
            return false;
        };
        entry.speed = speed;
        true
    }

    /// The open work of `peer` on an endpoint was published after all its dispatches up to now: at most that many of
    /// them are unseen.
    pub(super) fn settle(&mut self, peer: PeerNumber, endpoint: EndpointKey) {
        let Some(row) = self.rows.get_mut(&endpoint) else { return };
        if let Some(entry) = row.entries.iter_mut().find(|entry| entry.peer == peer) {
            entry.unseen.at_most(entry.in_flight.requests);
        }
    }

    /// Records the counts of an endpoint's answers that `peer` published.
    pub(super) fn set_failures(&mut self, peer: PeerNumber, endpoint: EndpointKey, failures: Failures) {
        let Some(row) = self.rows.get_mut(&endpoint) else { return };
        if let Some(entry) = row.entries.iter_mut().find(|entry| entry.peer == peer) {
            entry.failures = Some(failures);
        }
    }

    /// Peers' counts of an endpoint's answers, where they saw failures.
    pub(super) fn failures(&self, endpoint: EndpointKey) -> Vec<Failures> {
        let entries = self.rows.get(&endpoint).map_or(&[][..], |row| &row.entries);
        entries.iter().filter_map(|entry| entry.failures).collect()
    }

    /// Records that `peer` dispatched a request at `at` to an endpoint whose last report was made at `measured`;
    /// `false` when there is no room.
    pub(super) fn dispatched(
        &mut self,
        peer: PeerNumber,
        endpoint: EndpointKey,
        at: Timestamp,
        measured: Option<Timestamp>,
        now: Timestamp,
    ) -> bool {
        let Some(entry) = self.entry(peer, endpoint, now) else { return false };
        entry.unseen.dispatched(at, measured);
        true
    }

    /// Records that the endpoint's report made at `measured` arrived; `false` when no peer has unseen dispatches there.
    pub(super) fn reported(&mut self, endpoint: EndpointKey, measured: Timestamp) -> bool {
        let Some(row) = self.rows.get_mut(&endpoint) else { return false };
        let mut any = false;
        for unseen in row.entries.iter_mut().map(|entry| &mut entry.unseen).filter(|unseen| !unseen.is_empty()) {
            unseen.reported(measured);
            any = true;
        }
        any
    }

    /// The open work of all peers on `endpoint`, how many of their requests its last report can't include, and how fast
    /// they saw it compute; `None` if one of them does not say it.
    pub(super) fn open_work(&self, endpoint: EndpointKey) -> (InFlight, usize, Option<PrefillSpeed>) {
        let entries = self.rows.get(&endpoint).map_or(&[][..], |row| &row.entries);
        let nothing = (InFlight::default(), 0, Some(PrefillSpeed::default()));
        entries.iter().fold(nothing, |(sum, unseen, speed), entry| {
            // A dispatch is published before the count that includes it.
            let more = entry.unseen.len().min(entry.in_flight.requests as usize);
            let speed = speed.zip(entry.speed).map(|(sum, more)| sum.and(more));
            (sum.and(entry.in_flight), unseen + more, speed)
        })
    }

    /// The open work of each peer over all endpoints, and the number of endpoints that it published about.
    pub(super) fn sums(&self) -> BTreeMap<PeerNumber, (InFlight, usize)> {
        let mut sums = BTreeMap::<_, (InFlight, usize)>::new();
        for entry in self.rows.values().flat_map(|row| &row.entries) {
            let sum = sums.entry(entry.peer).or_default();
            *sum = (sum.0.and(entry.in_flight), sum.1 + 1);
        }
        sums
    }

    /// Endpoints outside of the pool that `peer` published about.
    pub(super) fn outside(&self, peer: PeerNumber) -> usize {
        self.counts.get(&peer).copied().unwrap_or_default()
    }

    /// Marks open work that a snapshot of `peer` omits as unconfirmed; `true` when there is any. The snapshot covers
    /// the numbers above `after` and up to `upto`, and `published` has those that it contains. Open work under another
    /// of these numbers was published anew since, or is over.
    pub(super) fn mark_unconfirmed(&mut self, peer: PeerNumber, (after, upto): (u64, u64), published: &[u64]) -> bool {
        let mut any = false;
        for entry in self.rows.values_mut().flat_map(|row| &mut row.entries).filter(|entry| entry.peer == peer) {
            if entry.in_flight_seq > after && entry.in_flight_seq <= upto {
                entry.unconfirmed = published.binary_search(&entry.in_flight_seq).is_err();
                any |= entry.unconfirmed;
            }
        }
        any
    }

    /// Voids the open work of `peer` that is still unconfirmed; adds its endpoints to `voided`.
    pub(super) fn void_unconfirmed(&mut self, peer: PeerNumber, voided: &mut Vec<EndpointKey>) {
        for (endpoint, row) in &mut self.rows {
            for entry in row.entries.iter_mut().filter(|entry| entry.peer == peer && entry.unconfirmed) {
                (entry.unconfirmed, entry.in_flight, entry.unseen) = (false, InFlight::default(), Unseen::default());
                entry.speed = NOTHING_SEEN;
                voided.push(*endpoint);
            }
        }
    }

    /// Drops all that `peer` published; returns the endpoints of which something counted.
    pub(super) fn forget(&mut self, peer: PeerNumber) -> Vec<EndpointKey> {
        let mut released = Vec::new();
        for (endpoint, row) in &mut self.rows {
            row.entries.retain(|entry| {
                if entry.peer == peer && entry.counts() {
                    released.push(*endpoint);
                }
                entry.peer != peer
            });
        }
        self.counts.remove(&peer);
        self.rows.retain(|_, row| row.in_pool || row.queued || !row.entries.is_empty());
        released
    }

    /// Drops facts about endpoints outside of the pool that can't matter any more.
    pub(super) fn expire(&mut self, now: Timestamp) {
        while let Some(&(since, _)) = self.outside.front()
            && now.since(since) >= LATE_MAX
        {
            self.sweep_next(now, LATE_MAX);
        }
    }

    /// The number of entries: for tests and figures.
    pub(super) fn len(&self) -> usize {
        self.rows.values().map(|row| row.entries.len()).sum()
    }

    /// The entry of `peer`, new if there is none; `None` when there is no room for a new one.
    fn entry(&mut self, peer: PeerNumber, endpoint: EndpointKey, now: Timestamp) -> Option<&mut Entry> {
        let row = self.rows.get(&endpoint);
        let known = row.and_then(|row| row.entries.iter().position(|entry| entry.peer == peer));
        if known.is_none() && !row.is_some_and(|row| row.in_pool) {
            self.make_room(peer, now);
            let count = self.counts.entry(peer).or_default();
            if *count >= OUTSIDE_MAX {
                return None;
            }
            *count += 1;
        }
        let row = self.rows.entry(endpoint).or_default();
        if !row.in_pool && !std::mem::replace(&mut row.queued, true) {
            self.outside.push_back((now, endpoint));
        }
        let at = known.unwrap_or_else(|| {
            row.entries.push(Entry::new(peer, now));
            row.entries.len() - 1
        });
        row.entries.get_mut(at)
    }

    /// Drops idle entries outside of the pool, the oldest first, when `peer` has as many as it may.
    fn make_room(&mut self, peer: PeerNumber, now: Timestamp) {
        for _ in 0..SWEEPS_FOR_ROOM {
            if self.outside(peer) < OUTSIDE_MAX {
                return;
            }
            self.sweep_next(now, Duration::ZERO);
        }
    }

    /// Examines the first row in the queue: drops its idle entries that received no fact for `quiet`, and the row with
    /// the last one.
    fn sweep_next(&mut self, now: Timestamp, quiet: Duration) {
        let Some((_, endpoint)) = self.outside.pop_front() else { return };
        let Some(row) = self.rows.get_mut(&endpoint) else { return };
        row.queued = false;
        if row.in_pool {
            return;
        }
        let counts = &mut self.counts;
        row.entries.retain(|entry| {
            // A speed counts for as long as its origin does not withdraw it, but gives way where there is no room.
            let lasts = entry.speed != NOTHING_SEEN && quiet > Duration::ZERO;
            let stays = !entry.is_idle() || now.since(entry.received_at) < quiet || lasts;
            if !stays {
                uncount(counts, entry.peer);
            }
            stays
        });
        if row.entries.is_empty() {
            self.rows.remove(&endpoint);
        } else {
            row.queued = true;
            self.outside.push_back((now, endpoint));
        }
    }
}

fn uncount(counts: &mut BTreeMap<PeerNumber, usize>, peer: PeerNumber) {
    if let Some(count) = counts.get_mut(&peer) {
        *count = count.saturating_sub(1);
    }
}

// === impl Entry ===

impl Entry {
    fn new(peer: PeerNumber, now: Timestamp) -> Self {
        let (in_flight, unseen) = (InFlight::default(), Unseen::default());
        Self {
            peer,
            in_flight_seq: 0,
            load_seq: 0,
            failing_seq: 0,
            received_at: now,
            unconfirmed: false,
            in_flight,
            speed: NOTHING_SEEN,
            unseen,
            failures: None,
        }
    }

    /// Whether anything of it counts in the sums over peers.
    fn counts(&self) -> bool {
        !self.is_idle() || self.failures.is_some() || self.speed != NOTHING_SEEN
    }

    /// Whether the peer has no open work there.
    fn is_idle(&self) -> bool {
        self.in_flight == InFlight::default()
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
