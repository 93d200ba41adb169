//! The messages of a chat as a gateway sends them.
//!
//! Must not know when a message is due.

use murmuration_kit::ext_proc;
use murmuration_proto::ext_proc::ProcessingRequest;

/// The headers of a chat request as a gateway sends them.
pub(crate) fn request_headers(number: u64, bytes: usize) -> ProcessingRequest {
    request_headers_and(number, bytes, &[])
}

/// The same, followed by `more`.
pub(crate) fn request_headers_and(number: u64, bytes: usize, more: &[(&str, &str)]) -> ProcessingRequest {
    let (id, length) = (format!("{number:08x}-0000-4000-8000-000000000000"), bytes.to_string());
    let pairs = [
        (":authority", "gateway.example.com"),
        (":path", "/v1/chat/completions"),
        (":method", "POST"),
        (":scheme", "http"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, deflate"),
        ("user-agent", "OpenAI/Python 1.99.0"),
        ("authorization", "Bearer sk-0123456789abcdef0123456789abcdef"),
        ("content-type", "application/json"),
        ("content-length", &length),
        ("x-forwarded-for", "192.0.2.17"),
        ("x-forwarded-proto", "http"),
        ("x-request-id", &id),
        ("x-stainless-lang", "python"),
        ("x-stainless-retry-count", "0"),
    ];
    ext_proc::full_duplex(ext_proc::request_headers(&[&pairs, more].concat(), false))
}

/// The headers of an answer, and the endpoint that gave it.
pub(super) fn response_headers(streamed: bool, served: &str) -> ProcessingRequest {
    let content_type = if streamed { "text/event-stream; charset=utf-8" } else { "application/json" };
    let pairs = [
        (":status", "200"),
        ("date", "Mon, 23 Nov 2026 12:00:00 GMT"),
        ("server", "uvicorn"),
        ("content-type", content_type),
        ("x-request-id", "00000000-0000-4000-8000-000000000000"),
    ];
    ext_proc::served(ext_proc::response_headers(&pairs, false), served)
}
