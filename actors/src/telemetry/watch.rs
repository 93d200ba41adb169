//! Telemetry for the ext-proc service: a sink for events, and a watch on each stream.
//!
//! Must not know ext-proc messages.

use murmuration::event::Event;
use murmuration::request::InferenceRequest;
use murmuration::schedule::Decision;
use tokio::time::Instant;

use super::Telemetry;
use super::span::RequestSpan;
use crate::ext_proc::{Headers, StreamWatch, TelemetrySink, TraceContext};

/// The watch on one stream; dropping it marks the stream's end.
struct Watch {
    telemetry: Telemetry,
    opened: Instant,
    asked: Option<Instant>,
    span: RequestSpan,
}

impl TelemetrySink for Telemetry {
    fn record(&self, event: &Event) {
        Telemetry::record(self, event);
    }

    fn holds_bytes(&self, more: i64) {
        self.inner.metrics.body_bytes.add(more as f64);
    }

    fn opened(&self) -> Box<dyn StreamWatch> {
        self.inner.metrics.streams.inc();
        Box::new(Watch { telemetry: self.clone(), opened: Instant::now(), asked: None, span: RequestSpan::default() })
    }
}

impl StreamWatch for Watch {
    fn began(&mut self, context: TraceContext<'_>) {
        self.span = self.telemetry.inner.tracer.request(context.request_id, context.traceparent, context.tracestate);
    }

    fn asked(&mut self, request: &InferenceRequest) {
        self.asked = Some(Instant::now());
        self.span.asked(request);
    }

    fn decided(&mut self, decision: &Decision) {
        if let Some(asked) = self.asked {
            self.telemetry.decision_took(asked.elapsed());
        }
        self.span.decided(decision);
    }

    fn headers(&self) -> Headers {
        self.span.headers()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let metrics = &self.telemetry.inner.metrics;
        metrics.streams.dec();
        metrics.stream_seconds.observe(self.opened.elapsed().as_secs_f64());
        metrics.streams_total.with_label_values(&["OK"]).inc();
    }
}
