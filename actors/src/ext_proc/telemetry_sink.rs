//! What the service needs of telemetry: somebody who hears facts, and who watches one stream from open to end.
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

/// Who hears facts.
pub trait TelemetrySink: Send + Sync + 'static {
    /// Takes one fact; never blocks.
    fn record(&self, event: &Event);

    /// Bytes of requests' bodies that are held now: this many more, or fewer.
    fn holds_bytes(&self, more: i64);

    /// A stream was opened; what is returned lives as long as the stream does.
    fn opened(&self) -> Box<dyn StreamWatch>;
}

/// Who watches one stream; its drop is the stream's end.
pub trait StreamWatch: Send {
    /// The request's headers came.
    fn began(&mut self, context: TraceContext<'_>);

    /// The request was read and goes to the scheduler.
    fn asked(&mut self, request: &InferenceRequest);

    /// The scheduler decided where it goes.
    fn decided(&mut self, decision: &Decision);

    /// Headers that carry the trace on to the engine: set on the request, over what the client sent.
    fn headers(&self) -> Headers;
}

/// A sink that says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

// === impl Silent ===

impl TelemetrySink for Silent {
    fn record(&self, _: &Event) {}

    fn holds_bytes(&self, _: i64) {}

    fn opened(&self) -> Box<dyn StreamWatch> {
        Box::new(Self)
    }
}

impl StreamWatch for Silent {
    fn began(&mut self, _: TraceContext<'_>) {}

    fn asked(&mut self, _: &InferenceRequest) {}

    fn decided(&mut self, _: &Decision) {}

    fn headers(&self) -> Headers {
        Vec::new()
    }
}
