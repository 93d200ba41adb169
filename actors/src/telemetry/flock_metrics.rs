//! Metrics of the flock: who is there, what goes over which lane, how old it is, and what was repaired or refused.
//!
//! Must not know lanes beyond their names.

use murmuration::event::Event;
use prometheus::{CounterVec, Error, Gauge, HistogramVec};

use super::buckets;
use super::families::Families;

/// Its families.
pub(super) struct FlockMetrics {
    peers: Gauge,
    lost: CounterVec,
    facts: CounterVec,
    bytes: CounterVec,
    ages: HistogramVec,
    ignored: CounterVec,
    repairs: CounterVec,
    kept: Gauge,
    moves: CounterVec,
}

// === impl FlockMetrics ===

impl FlockMetrics {
    pub(super) fn register(f: &Families<'_>) -> Result<Self, Error> {
        let one = |family: prometheus::GaugeVec| family.with_label_values::<&str>(&[]);
        Ok(Self {
            peers: one(f.gauge("murmuration_peers", "Other replicas that live.", &[])?),
            lost: f.counter("murmuration_peers_lost_total", "Replicas that died, left or started anew.", &[])?,
            facts: f.counter("murmuration_peer_facts_total", "Facts that peers sent, by lane.", &["lane"])?,
            bytes: f.counter("murmuration_peer_bytes_total", "Bytes of facts, by lane and direction.", &["lane", "direction"])?,
            ages: f.histogram("murmuration_peer_fact_age_seconds", "Age of the youngest fact of a batch when its origin sent it; the way is not in it, for clocks are never compared.", &["lane"], buckets::doubling(0.0005, 16))?,
            ignored: f.counter("murmuration_peer_ignored_total", "What peers sent and was not taken in, by reason.", &["reason"])?,
            repairs: f.counter("murmuration_peer_repairs_total", "Snapshots asked for because something was missing.", &[])?,
            kept: one(f.gauge("murmuration_endpoints_kept", "Endpoints that this replica watches as their keeper.", &[])?),
            moves: f.counter("murmuration_keeper_moves_total", "Changes of the number of endpoints kept.", &[])?,
        })
    }

    pub(super) fn record(&self, event: &Event) {
        match event {
            Event::PeerJoined { .. } => self.peers.inc(),
            Event::PeerLost { .. } => {
                self.peers.dec();
                self.lost.with_label_values::<&str>(&[]).inc();
            }
            Event::Heard { lane, facts, bytes, age, .. } => {
                self.facts.with_label_values(&[lane]).inc_by(*facts as f64);
                self.bytes.with_label_values(&[lane, "received"]).inc_by(*bytes as f64);
                if *facts > 0 {
                    self.ages.with_label_values(&[lane]).observe(age.as_secs_f64());
                }
            }
            Event::Said { lane, bytes } => self.bytes.with_label_values(&[lane, "sent"]).inc_by(*bytes as f64),
            Event::PeerIgnored { why, .. } => self.ignored.with_label_values(&[why]).inc(),
            Event::GapRepaired { .. } => self.repairs.with_label_values::<&str>(&[]).inc(),
            Event::Keeping { kept, .. } => {
                self.kept.set(*kept as f64);
                self.moves.with_label_values::<&str>(&[]).inc();
            }
            _ => {}
        }
    }
}
