//! Whether a replica should receive requests.

/// What readiness depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Discovery has announced the pool, and it exists.
    pub synced: bool,
    /// Its peers have not sent all of their state yet.
    pub joining: bool,
    /// Gossip keeps failing: this replica receives nothing from peers, and can't announce that to them.
    pub isolated: bool,
    /// The replica is about to stop.
    pub draining: bool,
    /// The name of a vital part that is not running at the moment, or was given up.
    pub down: Option<&'static str>,
}

// === impl Readiness ===

impl Readiness {
    /// Whether requests should be sent here.
    pub fn is_ready(self) -> bool {
        let connected = !self.joining && !self.isolated;
        self.synced && connected && !self.draining && self.down.is_none()
    }
}
