//! Statuses of prefill engines: which are the client's own error, and which are the engine's.

use std::sync::atomic::{AtomicUsize, Ordering};

use murmuration_actors::sidecar::{KvConnector, OnPrefillFailure, SidecarSettings};
use murmuration_kit::leg_engine::{LegEngine, Reply};

use crate::harness::{Running, settings};

const BODY: &str = r#"{"prompt":"x","max_tokens":16}"#;
const HANDOFF: &str = r#"{"kv_transfer_params":{"do_remote_prefill":true,"remote_block_ids":[[1]],"remote_engine_id":"e","remote_host":"h","remote_port":1}}"#;

#[tokio::test]
async fn the_next_engine_is_tried_where_a_status_is_about_the_engine() {
    // Its key, its models, its paths, its state.
    for status in [401, 403, 404, 405, 407, 408, 409, 410, 421, 423, 424, 425, 426, 428, 429, 499, 500, 501, 503, 507] {
        let failing = LegEngine::start(move |_| Reply::error(status)).await;
        let (other, decoder) = (LegEngine::answering(HANDOFF).await, LegEngine::answering("{}").await);
        let sidecar = Running::start(settings(&decoder)).await;
        assert_eq!(sidecar.complete(&[&failing, &other], BODY).await.status, 200, "{status}");
        assert_eq!((failing.received().len(), other.received().len()), (1, 1), "{status}");
        assert!(decoder.only().json()["kv_transfer_params"]["remote_engine_id"] == "e", "{status}");
        let legs = sidecar.legs();
        assert_eq!(legs[..2], [("prefill", "status"), ("prefill", "ok")], "{status}");
        // Where it is the only one, the client gets its answer, or the decode engine's where that is configured.
        assert_eq!(sidecar.complete(&[&failing], BODY).await.status, status, "{status}");
        let decodes = SidecarSettings { on_prefill_failure: OnPrefillFailure::Decode, ..settings(&decoder) };
        let sidecar = Running::start(decodes).await;
        assert_eq!(sidecar.complete(&[&failing], BODY).await.status, 200, "{status}");
    }
}

#[tokio::test]
async fn no_other_engine_is_tried_where_a_status_is_about_the_request() {
    for status in [400, 406, 411, 413, 414, 415, 416, 417, 422, 431] {
        let refusing = LegEngine::start(move |_| Reply::error(status)).await;
        let (other, decoder) = (LegEngine::answering(HANDOFF).await, LegEngine::answering("{}").await);
        let decodes = SidecarSettings { on_prefill_failure: OnPrefillFailure::Decode, ..settings(&decoder) };
        let sidecar = Running::start(decodes).await;
        let got = sidecar.complete(&[&refusing, &other], BODY).await;
        assert_eq!((got.status, got.message().as_str()), (status, "as told"));
        assert!(other.received().is_empty() && decoder.received().is_empty(), "{status}");
        assert_eq!(sidecar.legs(), [("prefill", "refused")], "{status}");
    }
}

#[tokio::test]
async fn the_same_table_counts_where_both_legs_run_at_once() {
    for (status, expected, others) in [(404, 200, 1), (400, 400, 0)] {
        let failing = LegEngine::start(move |_| Reply::error(status)).await;
        let other = LegEngine::answering("{}").await;
        // It waits for a prefill leg that failed, and answers once another one is done.
        let asked = AtomicUsize::new(0);
        let decoder = LegEngine::start(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::Never,
            _ => Reply::json("{}"),
        })
        .await;
        let with = SidecarSettings { kv_connector: KvConnector::Sglang, ..settings(&decoder) };
        let sidecar = Running::start(with).await;
        assert_eq!(sidecar.complete(&[&failing, &other], BODY).await.status, expected);
        assert_eq!(other.received().len(), others, "{status}");
    }
}
