//! The ways between places, and what is wrong with them.
//!
//! Must not know what goes over them.

use std::time::Duration;

use murmuration::chance::Chance;

/// How long a packet takes where nothing is wrong, at least and at most.
const CALM: (Duration, Duration) = (Duration::from_micros(100), Duration::from_micros(900));

/// A way from one place to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::sim) struct Link {
    /// Whether nothing comes through.
    pub(in crate::sim) cut: bool,
    /// The share of packets that is lost, 0 to 1.
    pub(in crate::sim) loss: f64,
    /// What a packet takes longer than it should, at least.
    pub(in crate::sim) least: Duration,
    /// And at most.
    pub(in crate::sim) most: Duration,
    /// The share of datagrams that arrive a second time, 0 to 1.
    pub(in crate::sim) replayed: f64,
    /// How much later, at least and at most.
    pub(in crate::sim) replayed_after: (Duration, Duration),
}

/// All ways, by the places at their ends.
#[derive(Debug)]
pub(in crate::sim) struct Links {
    nodes: usize,
    links: Vec<Link>,
}

// === impl Link ===

impl Link {
    const WELL: Self = Self {
        cut: false,
        loss: 0.0,
        least: Duration::ZERO,
        most: Duration::ZERO,
        replayed: 0.0,
        replayed_after: (Duration::ZERO, Duration::ZERO),
    };

    /// How long a packet takes; `None` when it is lost.
    pub(super) fn draw(&self, chance: &mut Chance) -> Option<Duration> {
        let lost = self.loss > 0.0 && chance.unit() < self.loss;
        if self.cut || lost { None } else { Some(self.delay(chance)) }
    }

    /// How much later a datagram arrives a second time; `None` when it does not.
    pub(super) fn again(&self, chance: &mut Chance) -> Option<Duration> {
        let (least, most) = self.replayed_after;
        let replayed = self.replayed > 0.0 && chance.unit() < self.replayed;
        replayed.then(|| least + (most - least).mul_f64(chance.unit()))
    }

    /// How long a packet takes that is not lost.
    pub(super) fn delay(&self, chance: &mut Chance) -> Duration {
        let calm = CALM.0 + (CALM.1 - CALM.0).mul_f64(chance.unit());
        if self.most.is_zero() { calm } else { calm + self.least + (self.most - self.least).mul_f64(chance.unit()) }
    }
}

// === impl Links ===

impl Links {
    pub(super) fn new(nodes: usize) -> Self {
        Self { nodes, links: vec![Link::WELL; nodes * nodes] }
    }

    /// The way from one to another.
    pub(in crate::sim) fn get(&self, from: usize, to: usize) -> Link {
        self.links[from * self.nodes + to]
    }

    /// Changes the ways from any of these to any of those, and with `back` the ways back.
    pub(in crate::sim) fn change(&mut self, from: &[usize], to: &[usize], back: bool, change: impl Fn(&mut Link)) {
        for (&from, &to) in from.iter().flat_map(|from| to.iter().map(move |to| (from, to))) {
            if from != to {
                change(&mut self.links[from * self.nodes + to]);
                if back {
                    change(&mut self.links[to * self.nodes + from]);
                }
            }
        }
    }

    /// Makes all whole again.
    pub(in crate::sim) fn heal(&mut self) {
        self.links.fill(Link::WELL);
    }
}
