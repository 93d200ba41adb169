//! The composition root of a sidecar: which parts there are, and how it leaves.
//!
//! Must not know requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::allow_list::{AllowList, PoolFeed};
use super::proxy::Proxy;
use super::settings::{PoolTargets, SidecarError, SidecarListeners, SidecarSettings};
use super::shared::Shared;
use super::{server, targets_file};
use crate::admin::{Readiness, serve_pages};
use crate::clock::Clock;
use crate::connection::EventSink;
use crate::environment::{Environment, Listener, SharedListener};
use crate::kubernetes::start_endpoints;
use crate::replica::certificates;
use crate::supervise::{Ended, Failed, Supervisor};
use crate::telemetry::Telemetry;

/// How long a draining sidecar still takes requests, so that gateways can notice.
const NOTICE_MAX: Duration = Duration::from_secs(5);

/// A running sidecar. Dropping it stops all parts at once, as a kill would.
#[derive(Debug)]
pub struct Sidecar {
    ranks: Vec<SocketAddr>,
    metrics: Option<SocketAddr>,
    supervisor: Supervisor,
    readiness: Arc<watch::Sender<Readiness>>,
    draining: watch::Sender<bool>,
    closing: watch::Sender<bool>,
    proxy: Option<Ended>,
    drain_timeout: Duration,
}

// === impl Sidecar ===

impl Sidecar {
    /// Starts a sidecar in `environment` on `listeners`.
    ///
    /// # Errors
    /// See [`SidecarError`].
    pub fn start(
        environment: Environment,
        settings: SidecarSettings,
        listeners: SidecarListeners,
        telemetry: Telemetry,
    ) -> Result<Self, SidecarError> {
        let SidecarListeners { ranks: sockets, metrics } = listeners;
        let tls = settings.tls.server()?.map(|tls| tls.speaking(b"http/1.1"));
        let allowed = match &settings.allowed_file {
            Some(file) => settings.allowed.clone().and(targets_file::read(file).map_err(SidecarError::Targets)?),
            None => settings.allowed.clone(),
        };
        let allowed = Arc::new(watch::channel(Arc::new(allowed)).0);
        let ranks = sockets.iter().map(Listener::address).collect::<Result<Vec<_>, _>>()?;
        let at = metrics.as_ref().map(Listener::address).transpose()?;
        let readiness = Arc::new(watch::channel(Readiness { synced: true, ..Readiness::default() }).0);
        let clock = environment.clock.unwrap_or_else(Clock::start);
        let supervisor = Supervisor::new(clock, telemetry.clone(), readiness.clone());
        let (draining, closing) = (watch::channel(false).0, watch::channel(false).0);
        let pool = settings.allowed_pool.as_ref().map(|pool| follow_pool(&supervisor, pool, &telemetry)).transpose()?;
        let list = AllowList::new(allowed.subscribe(), pool);
        let shared = Arc::new(Shared::new(settings.clone(), &environment.network, list, telemetry.clone())?);
        certificates(&supervisor, settings.tls.clone(), tls.clone(), &telemetry);
        if let Some(file) = settings.allowed_file.clone() {
            follow_targets(&supervisor, file, settings.allowed.clone(), allowed, telemetry.clone());
        }
        if let Some(metrics) = metrics {
            serve_metrics(&supervisor, metrics, telemetry.clone(), readiness.subscribe());
        }
        let sockets: Vec<SharedListener> = sockets.into_iter().map(SharedListener::new).collect();
        let limits = server::Limits { connections: settings.limits.connections, unread: settings.deadlines.unread };
        let (drained, closed) = (draining.subscribe(), closing.subscribe());
        let proxy = supervisor.vital("proxy", move || {
            let servers = sockets.iter().zip(0..).map(|(socket, rank)| {
                let proxy = Arc::new(Proxy::new(shared.clone(), rank, drained.clone()));
                let event_sink = event_sink(&telemetry);
                server::serve(socket.listener(), proxy, tls.clone(), limits, event_sink, closed.clone())
            });
            let servers = join_all(servers.collect::<Vec<_>>());
            async move {
                servers.await;
                Ok(())
            }
        });
        let (drain_timeout, proxy) = (settings.drain_timeout, Some(proxy));
        Ok(Self { ranks, metrics: at, supervisor, readiness, draining, closing, proxy, drain_timeout })
    }

    /// Where clients find each rank.
    pub fn ranks(&self) -> &[SocketAddr] {
        &self.ranks
    }

    /// Where metrics are served, if they are.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Resolves when a vital part failed too often.
    pub fn failed(&self) -> impl Future<Output = Failed> + Send + use<> {
        self.supervisor.failed()
    }

    /// Drains: `/health` fails at once, and no new connections after a notice period. Returns when the open requests have
    /// ended, or when the drain timeout is over.
    pub async fn drain(mut self) {
        self.readiness.send_modify(|readiness| readiness.draining = true);
        self.draining.send_replace(true);
        let drain_timeout = self.drain_timeout;
        let leaving = async {
            sleep(NOTICE_MAX.min(drain_timeout / 4)).await;
            self.closing.send_replace(true);
            if let Some(proxy) = self.proxy.take() {
                proxy.wait().await;
            }
        };
        if timeout(drain_timeout, leaving).await.is_err() {
            tracing::warn!("requests were still open when the drain's time was over");
        }
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.supervisor.stop_all();
    }
}

fn event_sink(telemetry: &Telemetry) -> EventSink {
    let telemetry = telemetry.clone();
    EventSink::new("sidecar", move |event| telemetry.record(event))
}

fn follow_pool(
    supervisor: &Supervisor,
    PoolTargets { api, pool, me }: &PoolTargets,
    telemetry: &Telemetry,
) -> Result<PoolFeed, SidecarError> {
    let (announced, feed) = watch::channel(None);
    start_endpoints(supervisor, api.client()?, (pool, me), Arc::new(announced), telemetry);
    Ok(feed)
}

fn follow_targets(
    supervisor: &Supervisor,
    file: std::path::PathBuf,
    given: super::allowed::AllowedTargets,
    allowed: Arc<watch::Sender<Arc<super::allowed::AllowedTargets>>>,
    telemetry: Telemetry,
) {
    supervisor.vital("allowed-targets", move || {
        let (file, given, allowed, telemetry) = (file.clone(), given.clone(), allowed.clone(), telemetry.clone());
        async move {
            targets_file::follow(file, given, allowed, move |event| telemetry.record(&event)).await;
            Err("it ended".to_owned())
        }
    });
}

fn serve_metrics(
    supervisor: &Supervisor,
    listener: Listener,
    telemetry: Telemetry,
    readiness: watch::Receiver<Readiness>,
) {
    let socket = SharedListener::new(listener);
    supervisor.vital("metrics", move || {
        let (page, readiness) = (telemetry.clone(), readiness.clone());
        let metrics = async move || {
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            ([(header::CONTENT_TYPE, kind)], page.sidecar_page()).into_response()
        };
        let ready = async move || {
            let is_ready = readiness.borrow().is_ready();
            if is_ready { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
        };
        let pages = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(ready));
        let (listener, event_sink) = (socket.listener(), event_sink(&telemetry));
        async move { serve_pages(listener, pages, event_sink).await.map_err(|error| error.to_string()) }
    });
}
