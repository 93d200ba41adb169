//! The spans of a request as a collector receives them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use murmuration::schedule::Explanation;
use murmuration::schedule::decision::ScorerName;
use opentelemetry_sdk::trace::InMemorySpanExporter;

use super::*;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn traced() -> (Tracer, InMemorySpanExporter) {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    (Tracer::of(provider), exporter)
}

fn decision() -> Decision {
    let scorers = vec![ScorerName { scorer: "queue-scorer".into(), weight: 2.0 }];
    let profile = ProfileExplanation { profile: "default".into(), scorers, ..ProfileExplanation::default() };
    let explanation = Explanation { profiles: vec![profile], ..Explanation::default() };
    Decision::new(Vec::new(), explanation)
}

#[test]
fn a_request_is_one_tree_below_its_callers_span() {
    let (tracer, exporter) = traced();
    let mut span = tracer.request("r1", Some(PARENT), None);
    span.asked(&InferenceRequest { incoming_model: "m".into(), ..InferenceRequest::default() });
    span.decided(&decision());
    drop(span);

    let spans = exporter.get_finished_spans().unwrap();
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_ref()).collect();
    for wanted in [
        "gateway.request",
        "gateway.request_orchestration",
        "run_scheduler_profile",
        "llm_d.epp.scoring",
        "llm_d.epp.scorer.queue-scorer",
        "pick_endpoints",
    ] {
        assert!(names.contains(&wanted), "{wanted} in {names:?}");
    }
    let root = spans.iter().find(|span| span.name == "gateway.request").unwrap();
    assert_eq!(root.parent_span_id.to_string(), "b7ad6b7169203331");
    assert!(root.attributes.contains(&KeyValue::new("gen_ai.request.model", "m")));
    let child = spans.iter().find(|span| span.name == "gateway.request_orchestration").unwrap();
    assert_eq!(child.parent_span_id, root.span_context.span_id());
    assert!(spans.iter().all(|span| span.span_context.trace_id().to_string() == "0af7651916cd43dd8448eb211c80319c"));
}

#[test]
fn the_engine_receives_our_span_and_the_callers_state() {
    let (tracer, _) = traced();
    let headers = tracer.request("r1", Some(PARENT), Some("vendor=1")).headers();
    assert_eq!(headers[0].0, "traceparent");
    assert!(headers[0].1.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && headers[0].1 != PARENT);
    assert_eq!(headers[1], ("tracestate", "vendor=1".to_owned()));
}

#[test]
fn a_disabled_tracer_leaves_the_clients_headers_unchanged() {
    let mut span = Tracer::default().request("r1", Some(PARENT), None);
    span.asked(&InferenceRequest::default());
    span.decided(&decision());
    assert!(span.headers().is_empty());
}
