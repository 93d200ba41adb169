//! Data-parallel ranks: a port and an engine each, or one port and a header.

use murmuration_actors::sidecar::SidecarSettings;
use murmuration_kit::leg_engine::{LegEngine, Reply};

use crate::harness::{Client, Running, settings};

/// Two decode engines on neighbouring ports are hard to come by, so rank 1's port has nobody or, by chance, another.
#[tokio::test]
async fn each_rank_has_a_port_and_rank_0_reads_the_header() {
    let decoder = LegEngine::start(|_| Reply::json("{}")).await;
    let with = SidecarSettings { ranks: 2, pod_ip: Some("10.0.0.1".to_owned()), ..settings(&decoder) };
    let sidecar = Running::start(with).await;
    let ask = async |rank: usize, header: &str| {
        let headers = [("x-data-parallel-host-port", header)];
        Client::send(sidecar.at[rank], "POST /v1/completions", &headers, r#"{"prompt":"x"}"#).await.answer().await
    };
    assert_eq!(ask(0, "10.0.0.1:8000").await.status, 200);
    assert_eq!(decoder.only().header("x-data-parallel-host-port"), None);
    for wrong in ["10.0.0.1:8002", "10.0.0.1:7999", "10.0.0.2:8000"] {
        let got = ask(0, wrong).await;
        assert_eq!((got.status, got.message().contains("no rank of this pod")), (400, true), "{wrong}: {}", got.body);
    }
    let next = decoder.address.port() + 1;
    for (rank, header) in [(0, "10.0.0.1:8001"), (1, "")] {
        let got = ask(rank, header).await;
        if got.status == 503 {
            assert!(got.message().contains(&format!("127.0.0.1:{next}")), "{}", got.body);
        }
    }
    assert_eq!(decoder.received().len(), 1, "rank 1's requests do not go to rank 0");
}
