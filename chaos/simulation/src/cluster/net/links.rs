//! The links between nodes, and their faults.
//!
//! Must not know what is sent over them.

use std::time::Duration;

use murmuration::chance::Chance;

/// The latency of a packet on a healthy link, at least and at most.
const LATENCY: (Duration, Duration) = (Duration::from_micros(100), Duration::from_micros(900));

/// A link from one node to another, in one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::cluster) struct Link {
    /// The additional latency of a packet from one zone to another.
    between_zones: Duration,
    /// Whether nothing passes.
    pub(in crate::cluster) cut: bool,
    /// The share of packets that are lost, 0 to 1.
    pub(in crate::cluster) loss: f64,
    /// The additional latency of a packet, at least.
    pub(in crate::cluster) least: Duration,
    /// The additional latency of a packet, at most.
    pub(in crate::cluster) most: Duration,
    /// The share of datagrams that arrive a second time, 0 to 1.
    pub(in crate::cluster) replayed: f64,
    /// How much later the second copy arrives, at least and at most.
    pub(in crate::cluster) replayed_after: (Duration, Duration),
}

/// All links, by their two nodes.
#[derive(Debug)]
pub(in crate::cluster) struct Links {
    nodes: usize,
    links: Vec<Link>,
    /// The same links without faults.
    healthy: Vec<Link>,
}

// === impl Link ===

impl Link {
    const HEALTHY: Self = Self {
        between_zones: Duration::ZERO,
        cut: false,
        loss: 0.0,
        least: Duration::ZERO,
        most: Duration::ZERO,
        replayed: 0.0,
        replayed_after: (Duration::ZERO, Duration::ZERO),
    };

    /// Draws the latency of a packet; `None` if it is lost.
    pub(super) fn draw(&self, chance: &mut Chance) -> Option<Duration> {
        let lost = self.loss > 0.0 && chance.unit() < self.loss;
        if self.cut || lost { None } else { Some(self.delay(chance)) }
    }

    /// Draws how much later a datagram arrives a second time; `None` if it does not.
    pub(super) fn again(&self, chance: &mut Chance) -> Option<Duration> {
        let (least, most) = self.replayed_after;
        let replayed = self.replayed > 0.0 && chance.unit() < self.replayed;
        replayed.then(|| least + (most - least).mul_f64(chance.unit()))
    }

    /// Draws the latency of a packet that is not lost.
    pub(super) fn delay(&self, chance: &mut Chance) -> Duration {
        let base = self.between_zones + LATENCY.0 + (LATENCY.1 - LATENCY.0).mul_f64(chance.unit());
        if self.most.is_zero() { base } else { base + self.least + (self.most - self.least).mul_f64(chance.unit()) }
    }
}

// === impl Links ===

impl Links {
    /// The links of `nodes` nodes. A packet from one zone to another takes longer by `latency`; nodes without a zone are
    /// near to all.
    pub(super) fn new(nodes: usize, zone: impl Fn(usize) -> Option<usize>, latency: Duration) -> Self {
        let apart = |from, to| zone(from).zip(zone(to)).is_some_and(|(from, to)| from != to);
        let pairs = (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to)));
        let between = |apart| if apart { latency } else { Duration::ZERO };
        let link = |(from, to)| Link { between_zones: between(apart(from, to)), ..Link::HEALTHY };
        let healthy: Vec<Link> = pairs.map(link).collect();
        Self { nodes, links: healthy.clone(), healthy }
    }

    /// The link between two nodes.
    pub(in crate::cluster) fn get(&self, from: usize, to: usize) -> Link {
        self.links[from * self.nodes + to]
    }

    /// Changes the links from each of `from` to each of `to`, and with `back` the reverse links too.
    pub(in crate::cluster) fn change(&mut self, from: &[usize], to: &[usize], back: bool, change: impl Fn(&mut Link)) {
        for (&from, &to) in from.iter().flat_map(|from| to.iter().map(move |to| (from, to))) {
            if from != to {
                change(&mut self.links[from * self.nodes + to]);
                if back {
                    change(&mut self.links[to * self.nodes + from]);
                }
            }
        }
    }

    /// Removes all faults.
    pub(in crate::cluster) fn heal(&mut self) {
        self.links.clone_from(&self.healthy);
    }
}
