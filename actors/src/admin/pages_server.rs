//! The server of metrics and debug pages.
//!
//! Must not know what is on them. A connection ends when nothing is answered on it for a while. So incomplete requests
//! and unread responses hold no place for long.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};

use crate::connection::{Arrivals, Bounds, EventSink, Paced};
use crate::environment::{self, Connection};

/// Most connections at once. A scraper opens one.
const BOUNDS: Bounds = Bounds { all: 512, of_one: 128 };

/// The caller of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Whether the caller runs on this machine, or in this pod.
    pub(crate) is_local: bool,
}

/// The accepted connections.
struct PageConnections(Arrivals);

/// Serves until the future is dropped.
///
/// # Errors
/// When the socket failed.
pub(crate) async fn serve_pages(
    listener: environment::Listener,
    pages: Router,
    event_sink: EventSink,
) -> io::Result<()> {
    let connections = PageConnections(Arrivals::new(listener, BOUNDS, event_sink));
    axum::serve(connections, pages.into_make_service_with_connect_info::<Caller>()).await
}

// === impl Caller ===

impl Caller {
    /// A caller from `from` that connected to `local`. A caller from the very address it connects to is on this
    /// machine: no other host can finish a handshake from it.
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
    type Io = Paced<Connection>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Paced<Connection>, SocketAddr) {
        let (connection, from) = poll_fn(|cx| self.0.poll_accept(cx)).await;
        (Paced::new(connection, self.0.event_sink().clone()), from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.address()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::task::{Context, Poll};
    use std::time::Duration;

    use murmuration::id::{Incarnation, PoolId, ReplicaId};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::sync::{mpsc, watch};
    use tokio::task::JoinSet;

    use super::*;
    use crate::admin::{DebugAccess, MetricsAccess, Pages, PoolPages, Readiness, router};
    use crate::environment::Acceptor;
    use crate::scheduler::SchedulerHandle;
    use crate::telemetry::Telemetry;
    use crate::telemetry::span::Tracer;

    /// A listener whose callers may have any address.
    struct Callers(mpsc::UnboundedReceiver<(Connection, SocketAddr)>);

    impl Acceptor for Callers {
        fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Connection, SocketAddr)>> {
            self.0.poll_recv(cx).map(|call| call.ok_or_else(|| io::ErrorKind::NotConnected.into()))
        }

        fn address(&self) -> io::Result<SocketAddr> {
            Ok(([10, 0, 0, 7], 9090).into())
        }
    }

    /// The status of `path` for a caller from `from`.
    async fn status(callers: &mpsc::UnboundedSender<(Connection, SocketAddr)>, from: &str, path: &str) -> u16 {
        let (mut here, there) = duplex(1 << 20);
        let connection = Connection::new(there).at(([10, 0, 0, 7], 9090).into());
        callers.send((connection, SocketAddr::new(from.parse().unwrap(), 4_000))).unwrap();
        here.write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        here.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The pages of a replica of these pools, of which the first alone is ready.
    fn pages(names: &[&str]) -> Pages {
        let telemetry = Telemetry::new("pool", Tracer::default()).unwrap();
        let pool = |(number, name): (usize, &&str)| PoolPages {
            id: PoolId::new(name).unwrap(),
            telemetry: telemetry.of_pool(&PoolId::new(name).unwrap()).unwrap(),
            scheduler: SchedulerHandle::unstarted(Duration::from_secs(1)).1,
            readiness: watch::channel(Readiness { synced: number == 0, ..Readiness::default() }).1,
            replication: None,
        };
        Pages {
            pools: names.iter().enumerate().map(pool).collect(),
            telemetry: telemetry.clone(),
            readiness: watch::channel(Readiness::default()).1,
            me: (ReplicaId::default(), Incarnation::default()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_pool_has_pages_of_its_own_and_only_of_one_pool_they_need_no_name() {
        for (names, several) in [(&["a"][..], false), (&["a", "b"], true)] {
            let (callers, calls) = mpsc::unbounded_channel();
            let pages = router(pages(names), DebugAccess::default(), MetricsAccess::open());
            let mut server = JoinSet::new();
            let listener = environment::Listener::new(Callers(calls));
            server.spawn(serve_pages(listener, pages, EventSink::new("admin", |_| {})));
            for (path, expected) in [
                ("/debug/decisions", if several { 404 } else { 200 }),
                ("/debug/pools", 200),
                ("/debug/pools/a/decisions", 200),
                ("/debug/pools/a/decisions/some-id", 404),
                ("/debug/pools/b/decisions", if several { 200 } else { 404 }),
                ("/debug/pools/c/decisions", 404),
                ("/readyz", 503),
                ("/readyz/a", 200),
                ("/readyz/b", if several { 503 } else { 404 }),
                ("/metrics", 200),
            ] {
                assert_eq!(status(&callers, "127.0.0.1", path).await, expected, "{path} of {names:?}");
            }
            assert_eq!(status(&callers, "10.0.0.8", "/debug/pools/a/decisions").await, 403);
            assert_eq!(status(&callers, "10.0.0.8", "/debug/pools").await, 403);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn debug_pages_are_for_this_machine_and_metrics_for_all() {
        let (callers, calls) = mpsc::unbounded_channel();
        let pages = router(pages(&["default"]), DebugAccess::default(), MetricsAccess::open());
        let mut server = JoinSet::new();
        server.spawn(serve_pages(environment::Listener::new(Callers(calls)), pages, EventSink::new("admin", |_| {})));
        for path in ["/debug/fleet", "/debug/peers", "/debug/decisions", "/debug/decisions/some-id"] {
            assert_eq!(status(&callers, "10.0.0.8", path).await, 403, "{path}");
        }
        for (from, path, expected) in [
            ("10.0.0.8", "/metrics", 200),
            ("10.0.0.8", "/healthz", 200),
            ("127.0.0.1", "/debug/decisions", 200),
            ("10.0.0.7", "/debug/decisions", 200),
            ("10.0.0.8", "/debug/nothing", 404),
        ] {
            assert_eq!(status(&callers, from, path).await, expected, "{from} {path}");
        }
    }

    #[test]
    fn a_local_caller_is_recognized_by_address() {
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
