//! The live page: the tier as a picture, for people who watch a testbed.
//!
//! Must not know how anything is decided or started. It only reads, and only on request: a testbed without visitors is
//! not polled.

mod state;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, header};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};

use super::{EngineSpot, ReplicaSpot, TestbedError};

/// One file with all it needs: it must work on a machine without a network.
const HTML: &str = include_str!("index.html");
/// How old a served state may be, so that many visitors cost no more than one.
const AGE_MAX: Duration = Duration::from_millis(500);

/// What is watched. Addresses stay the same over restarts; process ids are not used.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    /// The engines.
    pub(super) engines: Vec<EngineSpot>,
    /// The replicas.
    pub(super) replicas: Vec<ReplicaSpot>,
    /// Envoy's admin pages.
    pub(super) envoy: SocketAddr,
    /// Where requests enter.
    pub(super) public: SocketAddr,
}

/// The page's server; it ends when dropped.
#[derive(Debug)]
pub(super) struct Page {
    /// Where it serves.
    pub(super) address: SocketAddr,
    _server: JoinSet<()>,
}

/// What the handlers share.
#[derive(Clone, Debug)]
struct Shared {
    watched: Arc<Watched>,
    last: Arc<Mutex<Option<(Instant, String)>>>,
}

// === impl Page ===

impl Page {
    /// Serves at `address`.
    pub(super) async fn open(watched: Watched, address: SocketAddr) -> Result<Self, TestbedError> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| TestbedError::Port { port: address.port(), source })?;
        let shared = Shared { watched: Arc::new(watched), last: Arc::default() };
        let router = Router::new()
            .route("/", get(|| async { typed("text/html; charset=utf-8", HTML.to_owned()) }))
            .route("/state.json", get(state))
            .with_state(shared);
        let mut server = JoinSet::new();
        server.spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("testbed: the page is gone: {error}");
            }
        });
        Ok(Self { address, _server: server })
    }
}

/// The lock is held while the state is read, so that concurrent visitors read it once.
async fn state(State(shared): State<Shared>) -> Response<Body> {
    let mut last = shared.last.lock().await;
    let fresh = last.as_ref().filter(|(at, _)| at.elapsed() < AGE_MAX).map(|(_, text)| text.clone());
    let text = match fresh {
        Some(text) => text,
        None => {
            let text = state::look(&shared.watched).await.to_string();
            *last = Some((Instant::now(), text.clone()));
            text
        }
    };
    typed("application/json", text)
}

fn typed(kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            let found = HTML.replace("http://www.w3.org/2000/svg", "");
            assert!(!found.contains(outside), "{outside}");
        }
        assert!(HTML.contains("state.json"));
    }

    #[test]
    fn names_from_requests_never_become_markup() {
        for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write"] {
            assert!(!HTML.contains(way), "{way}");
        }
    }
}
