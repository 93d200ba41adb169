//! Data-parallel ranks: a port and an engine each, or one port and a header.

use murmuration_actors::sidecar::SidecarSettings;
use murmuration_kit::leg_engine::LegEngine;

use crate::harness::{Client, Running, settings};

#[tokio::test]
async fn a_rank_that_a_client_asks_for_reaches_no_engine() {
    let (prefiller, decoder) = (LegEngine::answering("{}").await, LegEngine::answering("{}").await);
    let sidecar = Running::start(settings(&decoder)).await;
    let list = prefiller.name();
    let headers = [("x-prefiller-host-port", list.as_str()), ("x-data-parallel-rank", "1")];
    for (path, headers) in
        [("/v1/completions", &headers[..]), ("/v1/completions", &headers[1..]), ("/tokenize", &headers[1..])]
    {
        assert_eq!(sidecar.post(path, headers, r#"{"prompt":"x"}"#).await.status, 200, "{path}");
    }
    let received = [prefiller.received(), decoder.received()].concat();
    assert_eq!(received.len(), 4);
    assert!(received.iter().all(|asked| asked.header("x-data-parallel-rank").is_none()));
}

#[tokio::test]
async fn each_rank_has_a_port_and_an_engine_and_rank_0_reads_the_header() {
    let [first, second] = LegEngine::neighbours("{}").await;
    let with = SidecarSettings { ranks: 2, pod_ip: Some("10.0.0.1".to_owned()), ..settings(&first) };
    let sidecar = Running::start(with).await;
    let ask = async |rank: usize, header: &str| {
        let headers = [("x-data-parallel-host-port", header)];
        Client::send(sidecar.at[rank], "POST /v1/completions", &headers, r#"{"prompt":"x"}"#).await.answer().await
    };
    // Rank, header, and how many requests each engine has had then.
    for (rank, header, served) in [
        (0, "", (1, 0)),
        (0, "10.0.0.1:8000", (2, 0)),
        (0, "10.0.0.1:8001", (2, 1)),
        (1, "", (2, 2)),
        (1, "10.0.0.1:8000", (2, 3)),
    ] {
        assert_eq!(ask(rank, header).await.status, 200, "{rank} {header}");
        assert_eq!((first.received().len(), second.received().len()), served, "{rank} {header}");
    }
    for wrong in ["10.0.0.1:8002", "10.0.0.1:7999", "10.0.0.2:8000"] {
        let got = ask(0, wrong).await;
        assert_eq!((got.status, got.message().contains("no rank of this pod")), (400, true), "{wrong}: {}", got.body);
    }
    let received = [first.received(), second.received()].concat();
    assert!(received.iter().all(|asked| asked.header("x-data-parallel-host-port").is_none()));
}
