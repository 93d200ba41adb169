//! Envoy's side of ext-proc: its messages, what a replica's replies say, and a stream.
//!
//! Must not know when a message is due. [`expect`] and [`stream`] are for tests, and panic; [`call`] returns errors.

pub mod call;
pub mod expect;
pub mod stream;

use murmuration_proto::ext_proc::{
    BodySendMode, HeaderMap, HeaderValue, HttpBody, HttpHeaders, HttpTrailers, Kind, ListValue, Metadata, Mutation,
    ProcessingRequest, ProcessingResponse, ProtocolConfiguration, Request, Response, StreamedBodyResponse, Struct,
    Value,
};
use murmuration_proto::names;

pub use call::{Call, CallError, Reply};

/// Envoy sends a body in chunks of this size at most.
pub const CHUNK_BYTES: usize = 64 << 10;

/// Headers with these names and values.
pub fn headers(pairs: &[(&str, &str)], end_of_stream: bool) -> HttpHeaders {
    let header = |(key, value): &(&str, &str)| HeaderValue {
        key: (*key).into(),
        raw_value: (*value).into(),
        ..Default::default()
    };
    let headers = pairs.iter().map(header).collect();
    HttpHeaders { headers: Some(HeaderMap { headers }), end_of_stream, ..Default::default() }
}

/// The headers of a request.
pub fn request_headers(pairs: &[(&str, &str)], end_of_stream: bool) -> ProcessingRequest {
    message(Request::RequestHeaders(headers(pairs, end_of_stream)))
}

/// A chunk of a request's body.
pub fn request_body(bytes: &[u8], end_of_stream: bool) -> ProcessingRequest {
    message(Request::RequestBody(body(bytes, end_of_stream)))
}

/// A request's body in the chunks in which Envoy sends it.
pub fn request_chunks(bytes: &[u8]) -> impl Iterator<Item = ProcessingRequest> {
    let count = bytes.len().div_ceil(CHUNK_BYTES);
    bytes.chunks(CHUNK_BYTES).enumerate().map(move |(i, chunk)| request_body(chunk, i + 1 == count))
}

/// The trailers of a request.
pub fn request_trailers() -> ProcessingRequest {
    message(Request::RequestTrailers(HttpTrailers::default()))
}

/// The headers of an answer.
pub fn response_headers(pairs: &[(&str, &str)], end_of_stream: bool) -> ProcessingRequest {
    message(Request::ResponseHeaders(headers(pairs, end_of_stream)))
}

/// A chunk of an answer's body.
pub fn response_body(bytes: &[u8], end_of_stream: bool) -> ProcessingRequest {
    message(Request::ResponseBody(body(bytes, end_of_stream)))
}

/// The trailers of an answer.
pub fn response_trailers() -> ProcessingRequest {
    message(Request::ResponseTrailers(HttpTrailers::default()))
}

/// The same message, the first of its stream, with the body modes of full duplex.
pub fn full_duplex(message: ProcessingRequest) -> ProcessingRequest {
    let mode = i32::from(BodySendMode::FullDuplexStreamed);
    let protocol = ProtocolConfiguration { request_body_mode: mode, response_body_mode: mode, ..Default::default() };
    ProcessingRequest { protocol_config: Some(protocol), ..message }
}

/// The same message with a subset hint.
pub fn hinted<T: ToString>(message: ProcessingRequest, endpoints: &[T]) -> ProcessingRequest {
    let values = endpoints.iter().map(|endpoint| text(endpoint.to_string())).collect();
    let list = Value { kind: Some(Kind::ListValue(ListValue { values })) };
    with_metadata(message, names::SUBSET_NAMESPACE, names::SUBSET, list)
}

/// The same message with the metadata that names the endpoint that served.
pub fn served(message: ProcessingRequest, endpoint: impl ToString) -> ProcessingRequest {
    with_metadata(message, names::LB_NAMESPACE, names::DESTINATION_SERVED, text(endpoint.to_string()))
}

/// The value of a header that a reply to the request's headers sets; `None` too if it is no such reply.
pub fn set_header<'r>(response: &'r ProcessingResponse, name: &str) -> Option<&'r str> {
    let Some(Response::RequestHeaders(answer)) = &response.response else { return None };
    let mutation = answer.response.as_ref()?.header_mutation.as_ref()?;
    let mut set = mutation.set_headers.iter().filter_map(|option| option.header.as_ref());
    set.find(|header| header.key == name).and_then(|header| std::str::from_utf8(&header.raw_value).ok())
}

/// The destination that a reply to the request's headers sets: addresses, the first one first.
pub fn destination(response: &ProcessingResponse) -> Option<&str> {
    set_header(response, names::DESTINATION)
}

/// The status and the code of a refusal.
pub fn refusal(response: &ProcessingResponse) -> Option<(u16, &str)> {
    let Some(Response::ImmediateResponse(refusal)) = &response.response else { return None };
    let status = refusal.status.as_ref().and_then(|status| u16::try_from(status.code).ok());
    Some((status.unwrap_or_default(), &refusal.details))
}

/// The piece of a body, the request's or the answer's, that a reply passes on.
pub fn piece(response: &ProcessingResponse) -> Option<&StreamedBodyResponse> {
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

fn body(bytes: &[u8], end_of_stream: bool) -> HttpBody {
    HttpBody { body: bytes.to_vec(), end_of_stream, ..Default::default() }
}

fn text(text: String) -> Value {
    Value { kind: Some(Kind::StringValue(text)) }
}

fn with_metadata(message: ProcessingRequest, namespace: &str, key: &str, value: Value) -> ProcessingRequest {
    let fields = [(key.to_owned(), value)].into();
    let filter_metadata = [(namespace.to_owned(), Struct { fields })].into();
    ProcessingRequest { metadata_context: Some(Metadata { filter_metadata, ..Default::default() }), ..message }
}
