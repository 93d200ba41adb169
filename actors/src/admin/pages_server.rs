//! The socket of metrics and debug pages.
//!
//! Must not know what is on them. A connection ends when nothing is answered on it for a while, so half requests and
//! answers that nobody takes hold no place for long.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};

use crate::connection::{Arrivals, Bounds, Paced, Teller};
use crate::world::{Door, Wire};

/// Connections at once. A scraper opens one.
const BOUNDS: Bounds = Bounds { all: 512, of_one: 128 };

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Whether the caller runs on this machine, or in this pod.
    pub(crate) is_local: bool,
}

/// Connections for pages.
struct PageConnections(Arrivals);

/// Serves until the future is dropped.
///
/// # Errors
/// When the socket failed.
pub(crate) async fn serve_pages(listener: Door, pages: Router, teller: Teller) -> io::Result<()> {
    let connections = PageConnections(Arrivals::new(listener, BOUNDS, teller));
    axum::serve(connections, pages.into_make_service_with_connect_info::<Caller>()).await
}

// === impl Caller ===

impl Caller {
    /// A caller from `from` that came in at `local`. Who comes from the very address it calls is here too: nobody else can
    /// finish a handshake from it.
    fn of(from: IpAddr, local: Option<IpAddr>) -> Self {
        let (from, local) = (from.to_canonical(), local.map(|local| local.to_canonical()));
        Self { is_local: from.is_loopback() || local == Some(from) }
    }
}

impl Connected<IncomingStream<'_, PageConnections>> for Caller {
    fn connect_info(stream: IncomingStream<'_, PageConnections>) -> Self {
        Self::of(stream.remote_addr().ip(), stream.io().inner().local().map(|local| local.ip()))
    }
}

// === impl PageConnections ===

impl Listener for PageConnections {
    type Io = Paced<Wire>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Paced<Wire>, SocketAddr) {
        let (wire, from) = poll_fn(|cx| self.0.poll_accept(cx)).await;
        (Paced::new(wire, self.0.teller().clone()), from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.address()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn who_calls_from_this_machine_is_told_by_address() {
        let is_local = |from: &str, local: Option<&str>| {
            Caller::of(from.parse().unwrap(), local.map(|local| local.parse().unwrap())).is_local
        };
        for (from, local) in [
            ("127.0.0.1", None),
            ("::1", Some("::1")),
            ("::ffff:127.0.0.9", Some("::ffff:127.0.0.1")),
            ("10.0.0.7", Some("10.0.0.7")),
            ("::ffff:10.0.0.7", Some("10.0.0.7")),
        ] {
            assert!(is_local(from, local), "{from} {local:?}");
        }
        for (from, local) in [("10.0.0.8", Some("10.0.0.7")), ("10.0.0.8", None), ("fd00::1", Some("fd00::2"))] {
            assert!(!is_local(from, local), "{from} {local:?}");
        }
    }
}
