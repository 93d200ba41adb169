//! The health that a replica reports over gRPC and HTTP, from its start to the end of its drain.
//!
//! | rule | test |
//! |---|---|
//! | P7: `liveness` is the process, the other known names readiness | `a_replica_is_alive_before_it_is_ready`, `every_known_name_but_liveness_reports_readiness` |
//! | an unknown service name is an error | `an_unknown_name_is_not_found` |
//! | not serving before discovery | `a_replica_is_alive_before_it_is_ready` |
//! | not serving once a drain began, but new requests are still served | `a_draining_replica_is_alive_and_not_ready_and_finishes_what_it_began` |
//! | `Watch` is served, so a proxy need not poll | `a_watch_reports_each_change` |
//! | defect 14: the ext-proc port serves no health | `the_ext_proc_port_serves_no_health` |

use std::net::SocketAddr;
use std::time::Duration;

use murmuration_actors::admin::client;
use murmuration_kit::ext_proc::expect::{COMPLETION, destination, post, request_body, response_headers};
use murmuration_kit::replica::channel;
use murmuration_kit::{Config, Replica, TIMEOUT};
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Code, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

const POOL: [&str; 1] = ["127.0.0.1:7"];
/// Names that report readiness: those of the protocol, and the one that Helm charts use.
const READINESS: [&str; 4] = ["readiness", "", "envoy.service.ext_proc.v3.ExternalProcessor", "inference-extension"];
/// A client of all health interfaces of a replica.
struct Prober {
    client: HealthClient<Channel>,
    admin: SocketAddr,
}

impl Prober {
    async fn of(replica: &Replica) -> Self {
        let at = replica.addresses();
        Self { client: HealthClient::new(channel(at.health).await), admin: at.admin }
    }

    async fn check(&mut self, service: &str) -> ServingStatus {
        let request = HealthCheckRequest { service: service.to_owned() };
        self.client.check(request).await.unwrap().into_inner().status()
    }

    /// Asserts the answers of all readiness names and of `/readyz`, and that the replica is alive over gRPC and HTTP.
    async fn assert_alive_and(&mut self, ready: ServingStatus, page: (u16, &str)) {
        for name in READINESS {
            assert_eq!(self.check(name).await, ready, "{name:?}");
        }
        assert_eq!(self.check("liveness").await, ServingStatus::Serving);
        let (status, text) = client::fetch(self.admin, "/readyz").await.unwrap();
        assert_eq!((status.as_u16(), text.trim_end()), page);
        assert_eq!(client::fetch(self.admin, "/healthz").await.unwrap().0, 200);
    }

    async fn watch(&mut self, service: &str) -> Streaming<HealthCheckResponse> {
        let request = HealthCheckRequest { service: service.to_owned() };
        self.client.watch(request).await.unwrap().into_inner()
    }
}

/// The next status on a watch; `None` at its end.
async fn next(watch: &mut Streaming<HealthCheckResponse>) -> Option<ServingStatus> {
    let message = timeout(TIMEOUT, watch.message()).await.expect("a message in time");
    message.ok().flatten().map(|message| message.status())
}

#[tokio::test]
async fn a_replica_is_alive_before_it_is_ready() {
    let mut replica = Replica::start_without_endpoints(Config::default()).await;
    let mut prober = Prober::of(&replica).await;
    prober.assert_alive_and(ServingStatus::NotServing, (503, "endpoints not known yet")).await;
    replica.announce(&POOL);
    replica.ready().await;
    prober.assert_alive_and(ServingStatus::Serving, (200, "ready")).await;
}

#[tokio::test]
async fn every_known_name_but_liveness_reports_readiness() {
    let replica = Replica::start(Config::default(), &POOL).await;
    Prober::of(&replica).await.assert_alive_and(ServingStatus::Serving, (200, "ready")).await;
}

#[tokio::test]
async fn an_unknown_name_is_not_found() {
    let replica = Replica::start(Config::default(), &POOL).await;
    let mut prober = Prober::of(&replica).await;
    for name in ["READINESS", "liveness-probe", "envoy.service.ext_proc.v3"] {
        let request = HealthCheckRequest { service: name.to_owned() };
        assert_eq!(prober.client.check(request).await.unwrap_err().code(), Code::NotFound, "{name}");
        assert_eq!(next(&mut prober.watch(name).await).await, Some(ServingStatus::ServiceUnknown), "{name}");
    }
}

#[tokio::test]
async fn a_replica_with_an_empty_pool_is_ready() {
    // As in llm-d: readiness means that the pool is known. Without a ready replica Envoy would not get the 503.
    let replica = Replica::start(Config::default(), &[]).await;
    Prober::of(&replica).await.assert_alive_and(ServingStatus::Serving, (200, "ready")).await;
}

#[tokio::test]
async fn a_watch_reports_each_change() {
    let mut replica = Replica::start_without_endpoints(Config::default()).await;
    let mut prober = Prober::of(&replica).await;
    let (mut readiness, mut liveness) = (prober.watch("readiness").await, prober.watch("liveness").await);
    assert_eq!(next(&mut readiness).await, Some(ServingStatus::NotServing));
    assert_eq!(next(&mut liveness).await, Some(ServingStatus::Serving));
    replica.announce(&POOL);
    assert_eq!(next(&mut readiness).await, Some(ServingStatus::Serving));
    replica.ready().await;
    let draining = tokio::spawn(replica.drain());
    assert_eq!(next(&mut readiness).await, Some(ServingStatus::NotServing));
    timeout(TIMEOUT, draining).await.expect("a drain ends").unwrap();
    assert_eq!(next(&mut readiness).await, None, "a replica that stopped sends no more");
    while let Some(status) = next(&mut liveness).await {
        assert_eq!(status, ServingStatus::Serving, "a drain is no reason to restart");
    }
}

#[tokio::test]
async fn a_draining_replica_is_alive_and_not_ready_and_finishes_what_it_began() {
    // A quarter of this is the notice for the proxy. The rest is for the open stream, which the test ends.
    let config = Config { drain_timeout: Duration::from_secs(8), ..Config::default() };
    let replica = Replica::start(config, &POOL).await;
    let mut prober = Prober::of(&replica).await;
    let mut watch = prober.watch("").await;
    assert_eq!(next(&mut watch).await, Some(ServingStatus::Serving));
    let (mut early, mut late) = (replica.open_stream(), replica.open_stream());
    early.ask(post(&[]), COMPLETION).await;

    let draining = tokio::spawn(replica.drain());
    assert_eq!(next(&mut watch).await, Some(ServingStatus::NotServing));
    prober.assert_alive_and(ServingStatus::NotServing, (503, "draining")).await;
    late.send(post(&[])).await;
    late.send(request_body(COMPLETION, true)).await;
    assert_eq!(destination(&late.answer().await), POOL[0], "a proxy that has not noticed yet is served");
    assert!(!draining.is_finished());
    for stream in [&mut early, &mut late] {
        stream.send(response_headers(&[(":status", "200")], true)).await;
        stream.close();
        stream.end().await;
    }
    timeout(TIMEOUT, draining).await.expect("a drain ends").unwrap();
    assert_eq!(next(&mut watch).await, None);
}

#[tokio::test]
async fn the_ext_proc_port_serves_no_health() {
    let replica = Replica::start_without_endpoints(Config::default()).await;
    let mut client = HealthClient::new(channel(replica.addresses().ext_proc).await);
    let answer = client.check(HealthCheckRequest { service: String::new() }).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unimplemented, "only the health port serves health");
}
