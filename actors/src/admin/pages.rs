//! The pages of the metrics port: `/metrics`, `/healthz`, `/readyz` and `/debug/…`.
//!
//! Where a replica serves several pools, each has its pages under `/debug/pools/NAME/…` and `/readyz/NAME`. The pages
//! without a pool's name are those of the only pool.
//!
//! Must not know who may read what, nor how to decide. It asks the scheduler with a timeout, and reports when there is
//! no answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use murmuration::id::{Incarnation, PoolId, ReplicaId};
use murmuration::schedule::{Leg, Stage};
use serde::Serialize;
use tokio::sync::watch;

use super::Readiness;
use super::access::{DebugAccess, guard};
use super::answer::{error, text, with_type};
use super::replication_page::replication_page;
use super::scrapers::{self, MetricsAccess};
use crate::replication::ReplicationView;
use crate::scheduler::SchedulerHandle;
use crate::telemetry::Telemetry;

/// Decisions on the list.
const LISTED_MAX: usize = 100;

/// What the pages read from.
#[derive(Clone, Debug)]
pub struct Pages {
    /// Metrics of the process.
    pub telemetry: Telemetry,
    /// Readiness of all pools together.
    pub readiness: watch::Receiver<Readiness>,
    /// This replica's name and incarnation.
    pub me: (ReplicaId, Incarnation),
    /// The pools.
    pub pools: Arc<[PoolPages]>,
}

/// What the pages of one pool read from.
#[derive(Clone, Debug)]
pub struct PoolPages {
    /// Its name.
    pub id: PoolId,
    /// Its metrics; those of the process where it is the only pool.
    pub telemetry: Telemetry,
    /// The fleet and decisions.
    pub scheduler: SchedulerHandle,
    /// Readiness.
    pub readiness: watch::Receiver<Readiness>,
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
    /// The endpoints of all stages.
    legs: Vec<ListedLeg<'a>>,
}

/// One stage of a listed decision.
#[derive(Serialize)]
struct ListedLeg<'a> {
    stage: Stage,
    endpoint: &'a str,
}

/// The router of all pages; `access` guards the debug pages, and `scrapers` the metrics.
pub fn router(pages: Pages, access: DebugAccess, scrapers: MetricsAccess) -> Router {
    let debug = Router::new()
        .route("/debug/fleet", get(fleet))
        .route("/debug/peers", get(peers))
        .route("/debug/decisions", get(decisions))
        .route("/debug/decisions/{request_id}", get(decision))
        .route("/debug/pools", get(pools))
        .route("/debug/pools/{pool}/fleet", get(fleet))
        .route("/debug/pools/{pool}/peers", get(peers))
        .route("/debug/pools/{pool}/decisions", get(decisions))
        .route("/debug/pools/{pool}/decisions/{request_id}", get(decision))
        .route_layer(from_fn_with_state(access, guard));
    Router::new()
        .route("/metrics", get(metrics).route_layer(from_fn_with_state(scrapers, scrapers::guard)))
        .route("/healthz", get(|| async { text(StatusCode::OK, "ok\n".to_owned()) }))
        .route("/readyz", get(readyz))
        .route("/readyz/{pool}", get(readyz))
        .merge(debug)
        .fallback(|| async {
            error(
                StatusCode::NOT_FOUND,
                "try /metrics, /readyz, /debug/fleet, /debug/peers, /debug/decisions or /debug/pools",
            )
        })
        .with_state(pages)
}

/// The parameters in a page's path.
type Names = Path<BTreeMap<String, String>>;

impl Pages {
    /// The pool that the path names, or the only one.
    fn pool(&self, names: &BTreeMap<String, String>) -> Result<&PoolPages, Box<Response<Body>>> {
        let all = || self.pools.iter().map(|pool| pool.id.as_str()).collect::<Vec<_>>().join(", ");
        let missing = |why: String| Box::new(error(StatusCode::NOT_FOUND, &why));
        match (names.get("pool"), &*self.pools) {
            (Some(name), pools) => pools
                .iter()
                .find(|pool| pool.id.as_str() == name)
                .ok_or_else(|| missing(format!("no pool of this name is served here; there are {}", all()))),
            (None, [only]) => Ok(only),
            (None, _) => Err(missing(format!("this replica serves several pools ({}): /debug/pools/NAME/...", all()))),
        }
    }
}

async fn metrics(State(pages): State<Pages>) -> Response<Body> {
    let several = || pages.pools.iter().map(|pool| (&pool.id, &pool.telemetry));
    let page = if pages.pools.len() > 1 { pages.telemetry.page_of(several()) } else { pages.telemetry.page() };
    let mut page = text(StatusCode::OK, page);
    let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    page.headers_mut().insert(header::CONTENT_TYPE, kind);
    page
}

async fn readyz(State(pages): State<Pages>, Path(names): Names) -> Response<Body> {
    let readiness = match names.get("pool").map(|_| pages.pool(&names)) {
        Some(Ok(pool)) => &pool.readiness,
        Some(Err(why)) => return *why,
        None => &pages.readiness,
    };
    match *readiness.borrow() {
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

async fn pools(State(pages): State<Pages>) -> Response<Body> {
    let listed = pages.pools.iter().map(|pool| {
        let ready = pool.readiness.borrow().is_ready();
        serde_json::json!({ "pool": pool.id.as_str(), "ready": ready })
    });
    json(&listed.collect::<Vec<_>>())
}

async fn fleet(State(pages): State<Pages>, Path(names): Names) -> Response<Body> {
    let pool = match pages.pool(&names) {
        Ok(pool) => pool,
        Err(why) => return *why,
    };
    match pool.scheduler.summary().await {
        Some(summary) => json(&summary),
        None => error(StatusCode::SERVICE_UNAVAILABLE, "the scheduler did not answer"),
    }
}

async fn peers(State(pages): State<Pages>, Path(names): Names) -> Response<Body> {
    let pool = match pages.pool(&names) {
        Ok(pool) => pool,
        Err(why) => return *why,
    };
    let summaries = pool.scheduler.summary().await.map(|summary| summary.peers).unwrap_or_default();
    let digest = pool.scheduler.digest().await.unwrap_or_default();
    let mut me = pages.me.clone();
    me.1 = pool.replication.as_ref().map_or(me.1, |replication| *replication.incarnation.borrow());
    json(&replication_page(&me, pool.replication.as_ref(), &summaries, digest))
}

async fn decisions(State(pages): State<Pages>, Path(names): Names) -> Response<Body> {
    let pool = match pages.pool(&names) {
        Ok(pool) => pool,
        Err(why) => return *why,
    };
    let recent = pool.scheduler.recent(LISTED_MAX).await;
    let listed = recent.iter().filter_map(|decision| {
        let target = decision.primary()?;
        Some(Listed {
            request_id: &decision.explanation.request_id,
            model: &decision.explanation.model,
            endpoint: target.endpoint.as_str(),
            matched_blocks: target.matched.blocks,
            blocks: target.matched.of,
            margin: decision.explanation.profiles.first().map_or(0.0, |profile| profile.margin),
            legs: decision.legs.iter().filter_map(listed_leg).collect(),
        })
    });
    json(&listed.collect::<Vec<_>>())
}

fn listed_leg(leg: &Leg) -> Option<ListedLeg<'_>> {
    Some(ListedLeg { stage: leg.stage, endpoint: leg.targets.first()?.endpoint.as_str() })
}

async fn decision(State(pages): State<Pages>, Path(names): Names) -> Response<Body> {
    let pool = match pages.pool(&names) {
        Ok(pool) => pool,
        Err(why) => return *why,
    };
    match pool.scheduler.explain(names.get("request_id").cloned().unwrap_or_default()).await {
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
