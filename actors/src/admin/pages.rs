//! The pages of the metrics port: `/metrics`, `/healthz`, `/readyz` and `/debug/…`.
//!
//! Must not know who may read what, nor how to decide. It asks the scheduler with a timeout, and reports when there is
//! no answer.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use murmuration::id::{Incarnation, ReplicaId};
use serde::Serialize;
use tokio::sync::watch;

use super::Readiness;
use super::access::{DebugAccess, guard};
use super::answer::{error, text, with_type};
use super::replication_page::replication_page;
use crate::replication::ReplicationView;
use crate::scheduler::SchedulerHandle;
use crate::telemetry::Telemetry;

/// Decisions on the list.
const LISTED_MAX: usize = 100;

/// What the pages read from.
#[derive(Clone, Debug)]
pub struct Pages {
    /// Metrics.
    pub telemetry: Telemetry,
    /// The fleet and decisions.
    pub scheduler: SchedulerHandle,
    /// Readiness.
    pub readiness: watch::Receiver<Readiness>,
    /// This replica's name and incarnation.
    pub me: (ReplicaId, Incarnation),
    /// The replication; `None` for a replica without peers.
    pub replication: Option<ReplicationView>,
}

/// One line of the list of decisions.
#[derive(Serialize)]
struct Listed<'a> {
    request_id: &'a str,
    model: &'a str,
    endpoint: &'a str,
    matched_blocks: u32,
    blocks: u32,
    margin: f64,
}

/// The router of all pages; `access` guards the debug pages.
pub fn router(pages: Pages, access: DebugAccess) -> Router {
    let debug = Router::new()
        .route("/debug/fleet", get(fleet))
        .route("/debug/peers", get(peers))
        .route("/debug/decisions", get(decisions))
        .route("/debug/decisions/{request_id}", get(decision))
        .route_layer(from_fn_with_state(access, guard));
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { text(StatusCode::OK, "ok\n".to_owned()) }))
        .route("/readyz", get(readyz))
        .merge(debug)
        .fallback(|| async {
            error(StatusCode::NOT_FOUND, "try /metrics, /readyz, /debug/fleet, /debug/peers or /debug/decisions")
        })
        .with_state(pages)
}

async fn metrics(State(pages): State<Pages>) -> Response<Body> {
    let mut page = text(StatusCode::OK, pages.telemetry.page());
    let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    page.headers_mut().insert(header::CONTENT_TYPE, kind);
    page
}

async fn readyz(State(pages): State<Pages>) -> Response<Body> {
    match *pages.readiness.borrow() {
        Readiness { draining: true, .. } => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned()),
        Readiness { down: Some(part), .. } => {
            text(StatusCode::SERVICE_UNAVAILABLE, format!("the part {part} is not running\n"))
        }
        Readiness { synced: false, .. } => {
            text(StatusCode::SERVICE_UNAVAILABLE, "endpoints not known yet\n".to_owned())
        }
        Readiness { joining: true, .. } => {
            text(StatusCode::SERVICE_UNAVAILABLE, "peers have not sent their state yet\n".to_owned())
        }
        Readiness { isolated: true, .. } => {
            text(StatusCode::SERVICE_UNAVAILABLE, "gossip keeps failing; see the log\n".to_owned())
        }
        Readiness { .. } => text(StatusCode::OK, "ready\n".to_owned()),
    }
}

async fn fleet(State(pages): State<Pages>) -> Response<Body> {
    match pages.scheduler.summary().await {
        Some(summary) => json(&summary),
        None => error(StatusCode::SERVICE_UNAVAILABLE, "the scheduler did not answer"),
    }
}

async fn peers(State(pages): State<Pages>) -> Response<Body> {
    let summaries = pages.scheduler.summary().await.map(|summary| summary.peers).unwrap_or_default();
    let digest = pages.scheduler.digest().await.unwrap_or_default();
    let mut me = pages.me.clone();
    me.1 = pages.replication.as_ref().map_or(me.1, |replication| *replication.incarnation.borrow());
    json(&replication_page(&me, pages.replication.as_ref(), &summaries, digest))
}

async fn decisions(State(pages): State<Pages>) -> Response<Body> {
    let recent = pages.scheduler.recent(LISTED_MAX).await;
    let listed = recent.iter().filter_map(|decision| {
        let target = decision.primary()?;
        Some(Listed {
            request_id: &decision.explanation.request_id,
            model: &decision.explanation.model,
            endpoint: target.endpoint.as_str(),
            matched_blocks: target.matched.blocks,
            blocks: target.matched.of,
            margin: decision.explanation.profiles.first().map_or(0.0, |profile| profile.margin),
        })
    });
    json(&listed.collect::<Vec<_>>())
}

async fn decision(State(pages): State<Pages>, Path(request_id): Path<String>) -> Response<Body> {
    match pages.scheduler.explain(request_id).await {
        Some(decision) => json(&*decision),
        None => error(StatusCode::NOT_FOUND, "not among the last decisions of this replica; ask the others, or sooner"),
    }
}

fn json(value: &impl Serialize) -> Response<Body> {
    match serde_json::to_string(value) {
        Ok(body) => with_type(StatusCode::OK, "application/json", body),
        Err(why) => error(StatusCode::INTERNAL_SERVER_ERROR, &why.to_string()),
    }
}
