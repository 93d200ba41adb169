//! Who is told what happened on a port's connections.
//!
//! Must not know metrics or logs.

use std::fmt;
use std::sync::Arc;

use murmuration::event::Event;

/// Takes facts of one port. Cheap to clone.
#[derive(Clone)]
pub struct EventSink {
    port: &'static str,
    tell: Arc<dyn Fn(&Event) + Send + Sync>,
}

// === impl EventSink ===

impl EventSink {
    /// Facts of `port` go to `tell`, which must be quick.
    pub fn new(port: &'static str, tell: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self { port, tell: Arc::new(tell) }
    }

    /// The port's name: `ext-proc`, `health`, `admin` or `peers`.
    pub(crate) fn port(&self) -> &'static str {
        self.port
    }

    pub(crate) fn emit(&self, event: &Event) {
        (self.tell)(event);
    }

    /// A connection was not let in, or was ended, for this reason.
    pub(crate) fn closed(&self, why: &'static str) {
        self.emit(&Event::ConnectionClosed { port: self.port, why });
    }
}

impl fmt::Debug for EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSink").field("port", &self.port).finish_non_exhaustive()
    }
}
