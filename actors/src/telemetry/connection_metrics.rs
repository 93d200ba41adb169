//! Metrics of connections: those refused or ended, repaired authorities, and refused server names.
//!
//! Must not know sockets.

use murmuration::event::Event;
use prometheus::{CounterVec, Error};

use super::families::Families;

/// Metric families of connections.
pub(super) struct ConnectionMetrics {
    closed: CounterVec,
    repaired: CounterVec,
    names: CounterVec,
}

// === impl ConnectionMetrics ===

impl ConnectionMetrics {
    pub(super) fn register(f: &Families<'_>) -> Result<Self, Error> {
        Ok(Self {
            closed: f.counter("murmuration_connections_closed_total", "Connections that this replica did not let in or ended, by port and reason.", &["port", "reason"])?,
            repaired: f.counter("murmuration_authorities_repaired_total", "Requests whose :authority an HTTP library would refuse, such as that of Istio's clusters, and that were served all the same.", &["port"])?,
            names: f.counter("murmuration_server_names_refused_total", "TLS handshakes that asked for a server name that is no DNS name; docs/istio.md has the cure.", &["port"])?,
        })
    }

    pub(super) fn record(&self, event: &Event) {
        match event {
            Event::ConnectionClosed { port, why } => self.closed.with_label_values(&[port, why]).inc(),
            Event::AuthorityRepaired { port } => self.repaired.with_label_values(&[port]).inc(),
            Event::ServerNameRefused { port, .. } => self.names.with_label_values(&[port]).inc(),
            _ => {}
        }
    }
}
