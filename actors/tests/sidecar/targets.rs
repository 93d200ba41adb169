//! Targets in headers: only those that are allowed, with their ports.

use murmuration::event::SidecarEvent;
use murmuration_actors::sidecar::{AllowedTargets, EcConnector, SidecarSettings};
use murmuration_kit::leg_engine::LegEngine;

use crate::harness::{Running, settings};

const BODY: &str = r#"{"prompt":"x"}"#;

async fn allowing(decoder: &LegEngine, targets: &str) -> Running {
    let allowed = AllowedTargets::read(targets).unwrap();
    Running::start(SidecarSettings { allowed, ec_connector: Some(EcConnector::Nixl), ..settings(decoder) }).await
}

#[tokio::test]
async fn a_target_that_is_not_allowed_is_refused_counted_and_not_called() {
    let (prefiller, decoder) = (LegEngine::answering("{}").await, LegEngine::answering("{}").await);
    let sidecar = allowing(&decoder, "10.0.0.7:8000").await;
    for header in ["x-prefiller-host-port", "x-prefiller-url", "x-encoder-hosts-ports"] {
        let got = sidecar.post("/v1/completions", &[(header, &prefiller.name())], BODY).await;
        assert_eq!((got.status, got.message().contains("--allowed-targets")), (403, true), "{header}: {}", got.body);
    }
    assert!(prefiller.received().is_empty() && decoder.received().is_empty());
    let refused = SidecarEvent::TargetRefused { stage: "prefill", target: prefiller.name() };
    assert_eq!(sidecar.events().into_iter().filter(|event| *event == refused).count(), 2);
}

#[tokio::test]
async fn an_allowed_address_is_not_allowed_at_another_port() {
    let (prefiller, decoder) = (LegEngine::answering("{}").await, LegEngine::answering("{}").await);
    let other = prefiller.address.port() ^ 1;
    let sidecar = allowing(&decoder, &format!("127.0.0.1:{other}")).await;
    assert_eq!(sidecar.complete(&[&prefiller], BODY).await.status, 403);
    let sidecar = allowing(&decoder, &prefiller.name()).await;
    assert_eq!(sidecar.complete(&[&prefiller], BODY).await.status, 200);
}

#[tokio::test]
async fn of_a_list_those_that_are_allowed_are_used() {
    let (prefiller, other) = (LegEngine::answering("{}").await, LegEngine::answering("{}").await);
    let decoder = LegEngine::answering("{}").await;
    let sidecar = allowing(&decoder, &prefiller.name()).await;
    assert_eq!(sidecar.complete(&[&other, &prefiller], BODY).await.status, 200);
    assert_eq!((other.received().len(), prefiller.received().len()), (0, 1));
}

#[tokio::test]
async fn a_source_that_is_not_allowed_is_ignored() {
    let decoder = LegEngine::answering("{}").await;
    let with = SidecarSettings {
        p2p_pull: true,
        allowed: AllowedTargets::read("10.0.0.7:8000").unwrap(),
        ..settings(&decoder)
    };
    let sidecar = Running::start(with).await;
    let headers = [("x-kv-cache-source-host-port", "169.254.169.254:80")];
    assert_eq!(sidecar.post("/v1/completions", &headers, BODY).await.status, 200);
    assert_eq!(&decoder.only().body[..], BODY.as_bytes(), "the engine computes what it lacks");
}

#[tokio::test]
async fn without_protection_any_target_is_called() {
    let (prefiller, decoder) = (LegEngine::answering("{}").await, LegEngine::answering("{}").await);
    let sidecar = Running::start(SidecarSettings { allowed: AllowedTargets::Any, ..settings(&decoder) }).await;
    assert_eq!(sidecar.complete(&[&prefiller], BODY).await.status, 200);
    assert_eq!(prefiller.received().len(), 1);
}

#[tokio::test]
async fn a_header_that_can_not_be_read_is_refused_with_its_name() {
    let decoder = LegEngine::answering("{}").await;
    let sidecar = Running::start(settings(&decoder)).await;
    let got = sidecar.post("/v1/completions", &[("x-prefiller-host-port", "nowhere")], BODY).await;
    assert_eq!((got.status, got.message().as_str()), (400, "x-prefiller-host-port: \"nowhere\" is no host:port"));
}
