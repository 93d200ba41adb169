//! The gRPC health service, by the service names of the endpoint-picker protocol.
//!
//! Must not know why a replica is ready or not.
//!
//! The name of a pool reports the readiness of that pool, the names in [`READINESS`] that of all.
//!
//! `liveness` reports only that the process answers, as the protocol's text has it: a restart would not speed up
//! discovery, and would cut a drain. The names in [`READINESS`] report readiness. Any other name is a mistake in a
//! probe and is reported as one: `NOT_FOUND` to `Check`, `SERVICE_UNKNOWN` to `Watch`.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::Readiness;

/// The name that reports whether the process answers.
const LIVENESS: &str = "liveness";
/// Names that report readiness: the process as a whole, the protocol's, Envoy's and that of the charts of Gateway API
/// Inference Extension.
const READINESS: [&str; 4] = ["", "readiness", "envoy.service.ext_proc.v3.ExternalProcessor", "inference-extension"];

/// The service.
#[derive(Clone, Debug)]
pub struct HealthService {
    readiness: watch::Receiver<Readiness>,
    /// By the pool's name.
    pools: Arc<BTreeMap<String, watch::Receiver<Readiness>>>,
}

// === impl HealthService ===

impl HealthService {
    /// A service that reports what `readiness` holds.
    pub fn new(readiness: watch::Receiver<Readiness>) -> Self {
        Self { readiness, pools: Arc::default() }
    }

    /// The same service, which also reports the readiness of these pools by their names.
    #[must_use]
    pub fn with_pools(self, pools: BTreeMap<String, watch::Receiver<Readiness>>) -> Self {
        Self { pools: Arc::new(pools), ..self }
    }

    /// The readiness behind a service name, and the name to report it under.
    fn asked<'a>(&self, service: &'a str) -> (&watch::Receiver<Readiness>, &'a str) {
        let is_of_all = service == LIVENESS || READINESS.contains(&service);
        let pool = self.pools.get(service).filter(|_| !is_of_all);
        pool.map_or((&self.readiness, service), |pool| (pool, ""))
    }
}

/// The status of a service name; `None` for an unknown name.
fn serving_status(service: &str, readiness: Readiness) -> Option<ServingStatus> {
    let serving = match service {
        LIVENESS => true,
        name if READINESS.contains(&name) => readiness.is_ready(),
        _ => return None,
    };
    Some(if serving { ServingStatus::Serving } else { ServingStatus::NotServing })
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        let (readiness, name) = self.asked(&service);
        let status = serving_status(name, *readiness.borrow());
        status.map(|status| Response::new(response(status))).ok_or_else(|| {
            let [_, readiness, ext_proc, chart] = READINESS;
            let known = format!("ask for {LIVENESS}, {readiness}, {ext_proc}, {chart}, a pool or no name");
            Status::not_found(format!(
                "no service {:?} is known; {known}",
                service.chars().take(64).collect::<String>()
            ))
        })
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let (readiness, name) = self.asked(&service);
        let (readiness, name) = (readiness.clone(), name.to_owned());
        let status = move |readiness| serving_status(&name, readiness).unwrap_or(ServingStatus::ServiceUnknown);
        let changes = WatchStream::new(readiness).map(move |readiness| Ok(response(status(readiness))));
        Ok(Response::new(Box::pin(changes)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    async fn status(service: &HealthService, name: &str) -> i32 {
        let request = Request::new(HealthCheckRequest { service: name.to_owned() });
        service.check(request).await.unwrap().into_inner().status
    }

    #[tokio::test]
    async fn liveness_never_fails_and_the_other_known_names_report_readiness() {
        let (sender, receiver) = watch::channel(Readiness::default());
        let service = HealthService::new(receiver);
        let (yes, no) = (ServingStatus::Serving as i32, ServingStatus::NotServing as i32);
        for (readiness, expected) in [
            (Readiness { synced: false, draining: false, joining: false, ..Readiness::default() }, no),
            (Readiness { synced: true, draining: false, joining: false, ..Readiness::default() }, yes),
            (Readiness { synced: true, draining: true, joining: false, ..Readiness::default() }, no),
            (Readiness { synced: true, draining: false, joining: true, ..Readiness::default() }, no),
            (Readiness { synced: true, down: Some("scheduler"), ..Readiness::default() }, no),
            (Readiness { synced: true, isolated: true, ..Readiness::default() }, no),
        ] {
            sender.send_replace(readiness);
            for name in READINESS {
                assert_eq!(status(&service, name).await, expected, "{name} {readiness:?}");
            }
            assert_eq!(status(&service, "liveness").await, yes);
        }
    }

    #[tokio::test]
    async fn a_pools_name_reports_that_pool() {
        let of = |synced| watch::channel(Readiness { synced, ..Readiness::default() }).1;
        let pools = BTreeMap::from([("a".to_owned(), of(true)), ("liveness".to_owned(), of(false))]);
        let service = HealthService::new(of(false)).with_pools(pools);
        let (yes, no) = (ServingStatus::Serving as i32, ServingStatus::NotServing as i32);
        for (name, expected) in [("a", yes), ("", no), ("readiness", no), ("liveness", yes)] {
            assert_eq!(status(&service, name).await, expected, "{name}");
        }
        let request = Request::new(HealthCheckRequest { service: "a".to_owned() });
        let first = service.watch(request).await.unwrap().into_inner().next().await.unwrap().unwrap();
        assert_eq!(first.status, yes);
    }

    #[tokio::test]
    async fn an_unknown_name_is_reported_by_check_and_by_watch() {
        let service = HealthService::new(watch::channel(Readiness::default()).1);
        for name in ["Readiness", "envoy.service.ext_proc.v3", "grpc.health.v1.Health", "liveness "] {
            let request = || Request::new(HealthCheckRequest { service: name.to_owned() });
            let refused = service.check(request()).await.unwrap_err();
            assert_eq!(refused.code(), tonic::Code::NotFound, "{name}");
            assert!(refused.message().contains("ask for liveness, readiness"), "{refused}");
            let first = service.watch(request()).await.unwrap().into_inner().next().await.unwrap().unwrap();
            assert_eq!(first.status, ServingStatus::ServiceUnknown as i32, "{name}");
        }
    }

    #[tokio::test]
    async fn a_watcher_receives_each_change() {
        let (sender, receiver) = watch::channel(Readiness::default());
        let request = Request::new(HealthCheckRequest { service: "readiness".to_owned() });
        let mut stream = HealthService::new(receiver).watch(request).await.unwrap().into_inner();
        assert_eq!(stream.next().await.unwrap().unwrap().status, ServingStatus::NotServing as i32);
        sender.send_replace(Readiness { synced: true, draining: false, joining: false, ..Readiness::default() });
        assert_eq!(stream.next().await.unwrap().unwrap().status, ServingStatus::Serving as i32);
    }
}
