//! Builds Envoy's messages, and reads the server's.
//!
//! Must not know when a message is due.

use murmuration_proto::ext_proc::{
    BodySendMode, HeaderMap, HeaderValue, HttpBody, HttpHeaders, Kind, Metadata, Mutation, ProcessingRequest,
    ProcessingResponse, ProtocolConfiguration, Request, Response, StreamedBodyResponse, Struct, Value,
};
use murmuration_proto::names;

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
    let mode = i32::from(BodySendMode::FullDuplexStreamed);
    let protocol = ProtocolConfiguration { request_body_mode: mode, response_body_mode: mode, ..Default::default() };
    let request = Request::RequestHeaders(headers(&[&pairs, more].concat()));
    ProcessingRequest { request: Some(request), protocol_config: Some(protocol), ..Default::default() }
}

/// A chunk of the request's body.
pub(crate) fn request_body(bytes: &[u8], end_of_stream: bool) -> ProcessingRequest {
    message(Request::RequestBody(HttpBody { body: bytes.to_vec(), end_of_stream, ..Default::default() }))
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
    let served = Value { kind: Some(Kind::StringValue(served.to_owned())) };
    let fields = [(names::DESTINATION_SERVED.to_owned(), served)].into();
    let filter_metadata = [(names::LB_NAMESPACE.to_owned(), Struct { fields })].into();
    let metadata = Metadata { filter_metadata, ..Default::default() };
    ProcessingRequest { metadata_context: Some(metadata), ..message(Request::ResponseHeaders(headers(&pairs))) }
}

/// A chunk of the answer's body.
pub(super) fn response_body(bytes: &[u8], end_of_stream: bool) -> ProcessingRequest {
    message(Request::ResponseBody(HttpBody { body: bytes.to_vec(), end_of_stream, ..Default::default() }))
}

/// The destination that an answer to the request's headers sets.
pub(super) fn destination(response: &ProcessingResponse) -> Option<&str> {
    let Some(Response::RequestHeaders(answer)) = &response.response else { return None };
    let mutation = answer.response.as_ref()?.header_mutation.as_ref()?;
    let mut set = mutation.set_headers.iter().filter_map(|option| option.header.as_ref());
    set.find(|header| header.key == names::DESTINATION).and_then(|header| std::str::from_utf8(&header.raw_value).ok())
}

/// The piece of a body, the request's or the answer's, that a message carries.
pub(super) fn piece(response: &ProcessingResponse) -> Option<&StreamedBodyResponse> {
    let (Some(Response::RequestBody(answer)) | Some(Response::ResponseBody(answer))) = &response.response else {
        return None;
    };
    match answer.response.as_ref()?.body_mutation.as_ref()?.mutation.as_ref()? {
        Mutation::StreamedResponse(piece) => Some(piece),
        _ => None,
    }
}

fn message(request: Request) -> ProcessingRequest {
    ProcessingRequest { request: Some(request), ..Default::default() }
}

fn headers(pairs: &[(&str, &str)]) -> HttpHeaders {
    let header = |(key, value): &(&str, &str)| HeaderValue {
        key: (*key).into(),
        raw_value: (*value).into(),
        ..Default::default()
    };
    HttpHeaders { headers: Some(HeaderMap { headers: pairs.iter().map(header).collect() }), ..Default::default() }
}
