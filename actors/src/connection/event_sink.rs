//! Passes the events of one port's connections to a callback.
//!
//! Must not know metrics or logs.

use std::fmt;
use std::sync::Arc;

use murmuration::event::Event;

/// Receives the events of one port. Cheap to clone.
#[derive(Clone)]
pub struct EventSink {
    port: &'static str,
    callback: Arc<dyn Fn(&Event) + Send + Sync>,
}

// === impl EventSink ===

impl EventSink {
    /// Passes the events of `port` to `callback`, which must be quick.
    pub fn new(port: &'static str, callback: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self { port, callback: Arc::new(callback) }
    }

    /// The port's name: `ext-proc`, `health`, `admin` or `peers`.
    pub(crate) fn port(&self) -> &'static str {
        self.port
    }

    pub(crate) fn emit(&self, event: &Event) {
        (self.callback)(event);
    }

    /// Reports that a connection was rejected or closed, and why.
    pub(crate) fn closed(&self, why: &'static str) {
        self.emit(&Event::ConnectionClosed { port: self.port, why });
    }
}

impl fmt::Debug for EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSink").field("port", &self.port).finish_non_exhaustive()
    }
}
