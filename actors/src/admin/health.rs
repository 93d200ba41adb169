//! The gRPC health service, by the service names of the endpoint-picker protocol.
//!
//! Must not know why a replica is ready or not.
//!
//! `liveness` says only that the process answers, as the protocol's text has it (a restart would help nobody who waits
//! for discovery, and would cut a drain); every other name, the empty one included, tells readiness.

use std::pin::Pin;

use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::Readiness;

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

fn told(service: &str, readiness: Readiness) -> HealthCheckResponse {
    let serving = service == "liveness" || readiness.is_ready();
    let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(told(&request.into_inner().service, *self.readiness.borrow())))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let changes = WatchStream::new(self.readiness.clone()).map(move |readiness| Ok(told(&service, readiness)));
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
    async fn liveness_never_fails_and_every_other_name_tells_readiness() {
        let (sender, receiver) = watch::channel(Readiness::default());
        let service = HealthService::new(receiver);
        let (yes, no) = (ServingStatus::Serving as i32, ServingStatus::NotServing as i32);
        let names = ["readiness", "", "envoy.service.ext_proc.v3.ExternalProcessor", "inference-extension"];
        for (readiness, expected) in [
            (Readiness { synced: false, draining: false, joining: false }, no),
            (Readiness { synced: true, draining: false, joining: false }, yes),
            (Readiness { synced: true, draining: true, joining: false }, no),
            (Readiness { synced: true, draining: false, joining: true }, no),
        ] {
            sender.send_replace(readiness);
            for name in names {
                assert_eq!(status(&service, name).await, expected, "{name} {readiness:?}");
            }
            assert_eq!(status(&service, "liveness").await, yes);
        }
    }

    #[tokio::test]
    async fn a_watcher_hears_of_each_change() {
        let (sender, receiver) = watch::channel(Readiness::default());
        let request = Request::new(HealthCheckRequest { service: "readiness".to_owned() });
        let mut stream = HealthService::new(receiver).watch(request).await.unwrap().into_inner();
        assert_eq!(stream.next().await.unwrap().unwrap().status, ServingStatus::NotServing as i32);
        sender.send_replace(Readiness { synced: true, draining: false, joining: false });
        assert_eq!(stream.next().await.unwrap().unwrap().status, ServingStatus::Serving as i32);
    }
}
