//! The gRPC health service, by the service names of the endpoint-picker protocol.
//!
//! Must not know why a replica is ready or not.
//!
//! `liveness` says only that the process answers, as the protocol's text has it (a restart would help nobody who waits
//! for discovery, and would cut a drain). The names in [`READINESS`] tell readiness. Any other name is a mistake in
//! somebody's probe and is told as one: `NOT_FOUND` to `Check`, `SERVICE_UNKNOWN` to `Watch`.

use std::pin::Pin;

use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::Readiness;

/// Tells that the process answers.
const LIVENESS: &str = "liveness";
/// Names that tell readiness: the process as a whole, the protocol's, Envoy's and that of the charts of Gateway API
/// Inference Extension.
const READINESS: [&str; 4] = ["", "readiness", "envoy.service.ext_proc.v3.ExternalProcessor", "inference-extension"];

/// The service.
#[derive(Clone, Debug)]
pub struct HealthService {
    readiness: watch::Receiver<Readiness>,
}

// === impl HealthService ===

impl HealthService {
    /// A service that tells what `readiness` holds.
    pub fn new(readiness: watch::Receiver<Readiness>) -> Self {
        Self { readiness }
    }
}

/// `None` for a name that no probe should ask for.
fn told(service: &str, readiness: Readiness) -> Option<ServingStatus> {
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
        let status = told(&service, *self.readiness.borrow());
        status.map(|status| Response::new(response(status))).ok_or_else(|| {
            let [_, readiness, ext_proc, chart] = READINESS;
            let known = format!("ask for {LIVENESS}, {readiness}, {ext_proc}, {chart} or no name");
            Status::not_found(format!(
                "no service {:?} is known; {known}",
                service.chars().take(64).collect::<String>()
            ))
        })
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let status = move |readiness| told(&service, readiness).unwrap_or(ServingStatus::ServiceUnknown);
        let changes = WatchStream::new(self.readiness.clone()).map(move |readiness| Ok(response(status(readiness))));
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
    async fn liveness_never_fails_and_the_other_known_names_tell_readiness() {
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
    async fn a_name_that_nobody_serves_is_told_as_unknown_in_either_way() {
        let service = HealthService::new(watch::channel(Readiness::default()).1);
        for name in ["Readiness", "envoy.service.ext_proc.v3", "grpc.health.v1.Health", "liveness "] {
            let request = || Request::new(HealthCheckRequest { service: name.to_owned() });
            let told = service.check(request()).await.unwrap_err();
            assert_eq!(told.code(), tonic::Code::NotFound, "{name}");
            assert!(told.message().contains("ask for liveness, readiness"), "{told}");
            let first = service.watch(request()).await.unwrap().into_inner().next().await.unwrap().unwrap();
            assert_eq!(first.status, ServingStatus::ServiceUnknown as i32, "{name}");
        }
    }

    #[tokio::test]
    async fn a_watcher_hears_of_each_change() {
        let (sender, receiver) = watch::channel(Readiness::default());
        let request = Request::new(HealthCheckRequest { service: "readiness".to_owned() });
        let mut stream = HealthService::new(receiver).watch(request).await.unwrap().into_inner();
        assert_eq!(stream.next().await.unwrap().unwrap().status, ServingStatus::NotServing as i32);
        sender.send_replace(Readiness { synced: true, draining: false, joining: false, ..Readiness::default() });
        assert_eq!(stream.next().await.unwrap().unwrap().status, ServingStatus::Serving as i32);
    }
}
