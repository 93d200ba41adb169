//! Traces over OTLP, with llm-d's names of spans and attributes. Disabled, they cost nothing.
//!
//! Must not know metrics or logs. An unavailable collector loses spans and never affects requests.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use murmuration::request::InferenceRequest;
use murmuration::schedule::decision::ProfileExplanation;
use murmuration::schedule::{Decision, Stage};
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{Span, SpanKind, TraceContextExt, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};

/// Where traces are sent, and how many.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceSettings {
    /// The collector's OTLP/gRPC address.
    pub endpoint: String,
    /// Fraction of requests that are traced when the caller did not decide, `0..=1`.
    pub share: f64,
    /// The service's name.
    pub service_name: String,
}

/// Makes spans of requests; disabled by default.
#[derive(Clone, Debug, Default)]
pub struct Tracer {
    on: Option<(SdkTracerProvider, SdkTracer)>,
}

/// The span of one request, from its headers to the stream's end.
#[derive(Debug, Default)]
pub struct RequestSpan {
    tracer: Tracer,
    context: Option<Context>,
    asked: Option<SystemTime>,
}

/// Trace headers to read or write.
#[derive(Default)]
struct Carrier(BTreeMap<String, String>);

// === impl Tracer ===

impl Tracer {
    /// A tracer that exports in batches, in the background.
    ///
    /// # Errors
    /// When the collector's address is invalid.
    pub fn export(settings: &TraceSettings) -> Result<Self, ExporterBuildError> {
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(&settings.endpoint).build()?;
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter);
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.share)));
        let resource = Resource::builder().with_service_name(settings.service_name.clone()).build();
        Ok(Self::of(provider.with_sampler(sampler).with_resource(resource).build()))
    }

    fn of(provider: SdkTracerProvider) -> Self {
        let tracer = provider.tracer("murmuration");
        Self { on: Some((provider, tracer)) }
    }

    /// Opens the span of a request; it continues the caller's trace if the headers contain one.
    pub fn request(&self, id: &str, traceparent: Option<&str>, tracestate: Option<&str>) -> RequestSpan {
        let Some((_, tracer)) = &self.on else { return RequestSpan::default() };
        let mut carrier = Carrier::default();
        for (name, value) in [("traceparent", traceparent), ("tracestate", tracestate)] {
            carrier.0.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        }
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
        let span = tracer.span_builder("gateway.request").with_kind(SpanKind::Server);
        let span = span.with_attributes([KeyValue::new("gen_ai.request.id", id.to_owned())]);
        let context = parent.with_span(span.start_with_context(tracer, &parent));
        RequestSpan { tracer: self.clone(), context: Some(context), asked: None }
    }

    /// Sends the remaining spans. It blocks, so don't call it on the runtime's threads.
    pub fn flush(&self) {
        if let Some((provider, _)) = &self.on {
            // Spans that can't be sent in this time are lost: a stopping replica does not wait longer.
            let _ = provider.shutdown_with_timeout(Duration::from_secs(2));
        }
    }
}

// === impl RequestSpan ===

impl RequestSpan {
    /// The request was read.
    pub fn asked(&mut self, request: &InferenceRequest) {
        let Some(context) = &self.context else { return };
        self.asked = Some(SystemTime::now());
        context.span().set_attributes([
            KeyValue::new("gen_ai.request.model", request.incoming_model.clone()),
            KeyValue::new("target_model", request.target_model.clone()),
            KeyValue::new("request_prio", i64::from(request.priority)),
        ]);
    }

    /// The scheduler answered.
    pub fn decided(&self, decision: &Decision) {
        let (Some(context), Some((_, tracer))) = (&self.context, &self.tracer.on) else { return };
        let asked = self.asked.unwrap_or_else(SystemTime::now);
        let start = |name: &'static str, parent: &Context| {
            let span = tracer.span_builder(name).with_start_time(asked).start_with_context(tracer, parent);
            parent.with_span(span)
        };
        let orchestration = start("gateway.request_orchestration", context);
        orchestration.span().set_attributes(split_attributes(decision));
        for profile in &decision.explanation.profiles {
            let run = start("run_scheduler_profile", &orchestration);
            run.span().set_attribute(KeyValue::new("llm_d.epp.scheduling.profile.name", profile.profile.clone()));
            for filter in &profile.filters {
                let span = start("filter_endpoints", &run);
                span.span().set_attributes([
                    KeyValue::new("llm_d.epp.filter.name", filter.filter.clone()),
                    KeyValue::new("llm_d.epp.filter.candidate_endpoints", filter.before as i64),
                    KeyValue::new("llm_d.epp.filter.filtered_endpoints", filter.after as i64),
                ]);
            }
            let scoring = start("llm_d.epp.scoring", &run);
            scoring.span().set_attributes([
                KeyValue::new("llm_d.epp.scoring.candidate_endpoints", profile.rows.len() as i64),
                KeyValue::new("llm_d.epp.scorer.count", profile.scorers.len() as i64),
            ]);
            for (column, scorer) in profile.scorers.iter().enumerate() {
                let mut span = tracer.span_builder(format!("llm_d.epp.scorer.{}", scorer.scorer));
                span = span.with_start_time(asked).with_attributes(scorer_attributes(profile, column));
                span.start_with_context(tracer, &scoring).end();
            }
            let picking = start("pick_endpoints", &run);
            let picked: Vec<&str> = profile.picked.iter().map(murmuration::id::EndpointId::as_str).collect();
            picking.span().set_attributes([
                KeyValue::new("llm_d.epp.picker.candidate_endpoints", profile.rows.len() as i64),
                KeyValue::new("llm_d.epp.picker.top_endpoints", picked.join(",")),
            ]);
        }
    }

    /// Headers that continue the trace at the engine; none while tracing is off, so the client's own pass unchanged.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let Some(context) = &self.context else { return Vec::new() };
        let mut carrier = Carrier::default();
        TraceContextPropagator::new().inject_context(context, &mut carrier);
        let mut header = |name: &'static str| carrier.0.remove(name).filter(|v| !v.is_empty()).map(|v| (name, v));
        ["traceparent", "tracestate"].into_iter().filter_map(&mut header).collect()
    }
}

impl Drop for RequestSpan {
    fn drop(&mut self) {
        if let Some(context) = &self.context {
            context.span().end();
        }
    }
}

/// How the stages were split, and why.
fn split_attributes(decision: &Decision) -> Vec<KeyValue> {
    let prefill = decision.leg(Stage::Prefill).and_then(|leg| leg.targets.first());
    let verdicts = &decision.explanation.verdicts;
    if verdicts.is_empty() && prefill.is_none() {
        return Vec::new();
    }
    let mut attributes = vec![
        KeyValue::new("llm_d.epp.profile_handler.decision", format!("complete_{}", decision.split())),
        KeyValue::new("llm_d.epp.pd.disaggregation_used", prefill.is_some()),
    ];
    for verdict in verdicts {
        let key = if verdict.stage == Stage::Encode { "llm_d.epp.encode.reason" } else { "llm_d.epp.pd.reason" };
        attributes.push(KeyValue::new(key, verdict.reason.clone()));
    }
    if let Some(target) = prefill {
        attributes.push(KeyValue::new("llm_d.epp.pd.prefill_pod_address", target.address.ip().to_string()));
        attributes.push(KeyValue::new("llm_d.epp.pd.prefill_pod_port", target.address.port().to_string()));
    }
    attributes
}

fn scorer_attributes(profile: &ProfileExplanation, column: usize) -> Vec<KeyValue> {
    let scores = || profile.rows.iter().filter_map(|row| row.scores.get(column).copied());
    let best = scores().fold(0.0, f64::max);
    let mean = scores().sum::<f64>() / profile.rows.len().max(1) as f64;
    let scorer = &profile.scorers[column];
    vec![
        KeyValue::new("llm_d.epp.scorer.name", scorer.scorer.clone()),
        KeyValue::new("llm_d.epp.scorer.weight", scorer.weight),
        KeyValue::new("llm_d.epp.scorer.endpoints_scored", profile.rows.len() as i64),
        KeyValue::new("llm_d.epp.scorer.score.max", best),
        KeyValue::new("llm_d.epp.scorer.score.avg", mean),
    ]
}

// === impl Carrier ===

impl Extractor for Carrier {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

impl Injector for Carrier {
    fn set(&mut self, key: &str, value: String) {
        self.0.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
#[path = "span_tests.rs"]
mod tests;
