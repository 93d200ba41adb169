//! Whether a replica should be sent requests.
//!
//! Must not know who asks.

/// What readiness hangs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Discovery has announced the pool at least once.
    pub synced: bool,
    /// Its peers have not told it all they know yet.
    pub joining: bool,
    /// Gossip failed again and again: this replica hears nobody, and can't say so to the others.
    pub isolated: bool,
    /// The replica is about to stop.
    pub draining: bool,
    /// A part that the replica can't do without does not run at the moment, or was given up.
    pub down: Option<&'static str>,
}

// === impl Readiness ===

impl Readiness {
    /// Whether requests should come here.
    pub fn is_ready(self) -> bool {
        let connected = !self.joining && !self.isolated;
        self.synced && connected && !self.draining && self.down.is_none()
    }
}
