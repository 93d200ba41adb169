//! What the service needs of telemetry: a sink for events, and a watch over one stream from open to end.
//!
//! Must not know metrics, logs or spans.

use murmuration::event::Event;
use murmuration::request::InferenceRequest;
use murmuration::schedule::Decision;

/// W3C trace context, as it came with the request's headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceContext<'a> {
    /// `x-request-id`, the client's or the generated one.
    pub request_id: &'a str,
    /// `traceparent`, where the client or gateway sent one.
    pub traceparent: Option<&'a str>,
    /// `tracestate`, likewise.
    pub tracestate: Option<&'a str>,
}

/// Headers to set on the request.
pub type Headers = Vec<(&'static str, String)>;

/// Receives events.
pub trait TelemetrySink: Send + Sync + 'static {
    /// Records one event; never blocks.
    fn record(&self, event: &Event);

    /// Adds `more`, which may be negative, to the count of body bytes that are held now.
    fn holds_bytes(&self, more: i64);

    /// A stream was opened; the returned watch lives as long as the stream.
    fn opened(&self) -> Box<dyn StreamWatch>;
}

/// Watches one stream; its drop is the stream's end.
pub trait StreamWatch: Send {
    /// The request's headers arrived.
    fn began(&mut self, context: TraceContext<'_>);

    /// The request was read and goes to the scheduler.
    fn asked(&mut self, request: &InferenceRequest);

    /// The scheduler decided where it goes.
    fn decided(&mut self, decision: &Decision);

    /// Headers that carry the trace to the engine. They are set on the request and overwrite what the client sent.
    fn headers(&self) -> Headers;
}

/// A sink that discards everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoTelemetry;

// === impl NoTelemetry ===

impl TelemetrySink for NoTelemetry {
    fn record(&self, _: &Event) {}

    fn holds_bytes(&self, _: i64) {}

    fn opened(&self) -> Box<dyn StreamWatch> {
        Box::new(Self)
    }
}

impl StreamWatch for NoTelemetry {
    fn began(&mut self, _: TraceContext<'_>) {}

    fn asked(&mut self, _: &InferenceRequest) {}

    fn decided(&mut self, _: &Decision) {}

    fn headers(&self) -> Headers {
        Vec::new()
    }
}
