//! Metrics of replication: live peers, traffic and age of facts by lane, repairs, and refused facts.
//!
//! Must not know lanes beyond their names.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use murmuration::event::Event;
use murmuration::replication::{Member, PeerSummary};
use prometheus::{Counter, CounterVec, Error, Gauge, GaugeVec, Histogram};

use super::buckets;
use super::families::Families;
use crate::replication::Lane;

/// Metric families of replication.
pub(super) struct ReplicationMetrics {
    peers: Gauge,
    lost: CounterVec,
    salts: CounterVec,
    lanes: [LaneMetrics; 2],
    zones: Zones,
    zone_bytes: CounterVec,
    ignored: CounterVec,
    refused: CounterVec,
    left_out: CounterVec,
    repairs: CounterVec,
    kept: Gauge,
    moves: CounterVec,
    behind: GaugeVec,
    quiet: GaugeVec,
    gaps: GaugeVec,
    work: GaugeVec,
    outside: GaugeVec,
}

/// Metrics of one lane. Its series are resolved once: batches are frequent, and finding a series costs ten times as
/// much as counting in it.
struct LaneMetrics {
    lane: &'static str,
    facts: Counter,
    received: Counter,
    sent: Counter,
    ages: Histogram,
}

/// The zones that have series of their own: the first that were seen.
#[derive(Default)]
struct Zones(Mutex<BTreeSet<Arc<str>>>);

// === impl Zones ===

impl Zones {
    const MOST: usize = 32;

    /// The label of `zone`: `other` beyond the bound, so that a peer's changing names make no series without end.
    fn name(&self, zone: &Arc<str>) -> Arc<str> {
        // A panic can't leave the set half changed.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < Self::MOST {
            known.insert(zone.clone());
        }
        if known.contains(zone) { zone.clone() } else { "other".into() }
    }
}

// === impl ReplicationMetrics ===

impl ReplicationMetrics {
    pub(super) fn register(f: &Families<'_>) -> Result<Self, Error> {
        let one = |family: prometheus::GaugeVec| family.with_label_values::<&str>(&[]);
        let facts = f.counter("murmuration_peer_facts_total", "Facts that peers sent, by lane.", &["lane"])?;
        let bytes = f.counter(
            "murmuration_peer_bytes_total",
            "Bytes of facts, by lane and direction.",
            &["lane", "direction"],
        )?;
        let ages = f.histogram("murmuration_peer_fact_age_seconds", "Age of the youngest fact of a batch when its origin sent it; the way is not in it, for clocks are never compared.", &["lane"], buckets::doubling(0.0005, 16))?;
        let lanes = [Lane::Stream, Lane::Gossip].map(|lane| {
            let lane = lane.as_str();
            LaneMetrics {
                lane,
                facts: facts.with_label_values(&[lane]),
                received: bytes.with_label_values(&[lane, "received"]),
                sent: bytes.with_label_values(&[lane, "sent"]),
                ages: ages.with_label_values(&[lane]),
            }
        });
        Ok(Self {
            peers: one(f.gauge("murmuration_peers", "Other replicas that live.", &[])?),
            salts: f.counter(
                "murmuration_prompt_salt_changes_total",
                "Times that prompts began to be hashed under another salt.",
                &[],
            )?,
            lost: f.counter("murmuration_peers_lost_total", "Replicas that died, left or restarted.", &[])?,
            lanes,
            zones: Zones::default(),
            zone_bytes: f.counter("murmuration_peer_zone_bytes_total", "Bytes of facts sent to replicas of another zone, by lane and by the zones of both.", &["lane", "from", "to"])?,
            ignored: f.counter("murmuration_peer_ignored_total", "What peers sent and was not taken in, by reason.", &["reason"])?,
            refused: f.counter("murmuration_peer_facts_refused_total", "Facts of peers that found no room: their origin reports too many endpoints that are not in this replica's pool.", &[])?,
            left_out: f.counter("murmuration_gossip_facts_left_out_total", "Facts of this replica that found no room in gossip, each time pages were written; peer streams bring them.", &[])?,
            repairs: f.counter("murmuration_peer_repairs_total", "Snapshots asked for because something was missing.", &[])?,
            kept: one(f.gauge("murmuration_endpoints_kept", "Endpoints that this replica watches as their keeper.", &[])?),
            moves: f.counter("murmuration_keeper_moves_total", "Changes of the number of endpoints kept.", &[])?,
            behind: f.gauge("murmuration_peer_behind_facts", "Facts that a peer has published and that were not received in order: how far the view of it diverges.", &["peer"])?,
            quiet: f.gauge("murmuration_peer_quiet_seconds", "Since a peer's last batch.", &["peer"])?,
            gaps: f.gauge("murmuration_peer_gaps", "Batches of a peer's incarnation that did not continue what was received.", &["peer"])?,
            work: f.gauge("murmuration_peer_inflight_requests", "Requests that a peer dispatched and that are not finished.", &["peer"])?,
            outside: f.gauge("murmuration_peer_endpoints_outside", "Endpoints that a peer reported and that are not in this replica's pool.", &["peer"])?,
        })
    }

    fn lane(&self, lane: &str) -> Option<&LaneMetrics> {
        self.lanes.iter().find(|of| of.lane == lane)
    }

    /// Sets the gauges of each peer, from what was received and from the head that each peer advertises.
    pub(super) fn set(&self, peers: &[PeerSummary], members: &[Member]) {
        for family in [&self.behind, &self.quiet, &self.gaps, &self.work, &self.outside] {
            family.reset();
        }
        for peer in peers {
            let labels = [peer.replica.0.as_str()];
            let head = members.iter().find(|member| member.replica == peer.replica).map_or(0, |member| member.head);
            self.behind.with_label_values(&labels).set(head.saturating_sub(peer.upto) as f64);
            self.quiet.with_label_values(&labels).set(peer.quiet.as_secs_f64());
            self.gaps.with_label_values(&labels).set(peer.gaps as f64);
            self.work.with_label_values(&labels).set(f64::from(peer.in_flight.requests));
            self.outside.with_label_values(&labels).set(peer.outside as f64);
        }
    }

    pub(super) fn record(&self, event: &Event) {
        match event {
            Event::PeerJoined { .. } => self.peers.inc(),
            Event::PeerLost { .. } => {
                self.peers.dec();
                self.lost.with_label_values::<&str>(&[]).inc();
            }
            Event::BatchReceived { lane, facts, bytes, age, .. } => {
                let Some(of) = self.lane(lane) else { return };
                of.facts.inc_by(*facts as f64);
                of.received.inc_by(*bytes as f64);
                if let Some(age) = age {
                    of.ages.observe(age.as_secs_f64());
                }
            }
            Event::BytesSent { lane, bytes, zones } => {
                if let Some(of) = self.lane(lane) {
                    of.sent.inc_by(*bytes as f64);
                }
                if let Some([from, to]) = zones {
                    let to = self.zones.name(to);
                    self.zone_bytes.with_label_values(&[*lane, &**from, &*to]).inc_by(*bytes as f64);
                }
            }
            Event::PeerIgnored { why, .. } => self.ignored.with_label_values(&[why]).inc(),
            Event::PoolNotServed { .. } => self.ignored.with_label_values(&["other-pool"]).inc(),
            Event::PromptSaltChanged { .. } => self.salts.with_label_values::<&str>(&[]).inc(),
            Event::PeerFactsRefused { facts, .. } => self.refused.with_label_values::<&str>(&[]).inc_by(*facts as f64),
            Event::GossipLeftOut { facts } => self.left_out.with_label_values::<&str>(&[]).inc_by(*facts as f64),
            Event::GapRepaired { .. } => self.repairs.with_label_values::<&str>(&[]).inc(),
            Event::Keeping { kept, .. } => {
                self.kept.set(*kept as f64);
                self.moves.with_label_values::<&str>(&[]).inc();
            }
            _ => {}
        }
    }
}
