//! Builds Envoy's messages to a replica, and reads the replica's replies.
//!
//! Must not know when a message is due.

use std::net::SocketAddr;

use murmuration_proto::ext_proc::{
    BodySendMode, HeaderMap, HeaderValue, HttpBody, HttpHeaders, Kind, ListValue, Metadata, Mutation,
    ProcessingRequest, ProcessingResponse, ProtocolConfiguration, Request, Response, StreamedBodyResponse, Struct,
    Value,
};
use murmuration_proto::names;

/// The path of all requests.
const PATH: &str = "/v1/completions";

/// The headers of a request, as the gateway sends them.
pub(super) fn head(id: &str) -> HttpHeaders {
    headers(&[
        (":authority", "gateway.example.com"),
        (":path", PATH),
        (":method", "POST"),
        (":scheme", "http"),
        ("content-type", "application/json"),
        (names::REQUEST_ID, id),
    ])
}

/// The first message of a stream. `subset` is the gateway's subset hint; empty for none.
pub(super) fn request_headers(id: &str, subset: &[SocketAddr]) -> ProcessingRequest {
    let mode = i32::from(BodySendMode::FullDuplexStreamed);
    let protocol = ProtocolConfiguration { request_body_mode: mode, response_body_mode: mode, ..Default::default() };
    let text = |address: &SocketAddr| value(Kind::StringValue(address.to_string()));
    let list = value(Kind::ListValue(ListValue { values: subset.iter().map(text).collect() }));
    let hint = metadata(names::SUBSET_NAMESPACE, names::SUBSET, list);
    ProcessingRequest {
        protocol_config: Some(protocol),
        metadata_context: (!subset.is_empty()).then_some(hint),
        ..message(Request::RequestHeaders(head(id)))
    }
}

/// A chunk of the request body.
pub(super) fn request_body(bytes: &[u8], end_of_stream: bool) -> ProcessingRequest {
    message(Request::RequestBody(HttpBody { body: bytes.to_vec(), end_of_stream, ..Default::default() }))
}

/// The response headers, and the endpoint that served the request.
pub(super) fn response_headers(streamed: bool, served: &SocketAddr) -> ProcessingRequest {
    let content_type = if streamed { "text/event-stream" } else { "application/json" };
    let served = value(Kind::StringValue(served.to_string()));
    ProcessingRequest {
        metadata_context: Some(metadata(names::LB_NAMESPACE, names::DESTINATION_SERVED, served)),
        ..message(Request::ResponseHeaders(headers(&[(":status", "200"), ("content-type", content_type)])))
    }
}

/// A chunk of the response body.
pub(super) fn response_body(bytes: Vec<u8>, end_of_stream: bool) -> ProcessingRequest {
    message(Request::ResponseBody(HttpBody { body: bytes, end_of_stream, ..Default::default() }))
}

/// The first destination that the reply to the request headers sets.
pub(super) fn destination(response: &ProcessingResponse) -> Option<SocketAddr> {
    let Some(Response::RequestHeaders(answer)) = &response.response else { return None };
    let mutation = answer.response.as_ref()?.header_mutation.as_ref()?;
    let mut set = mutation.set_headers.iter().filter_map(|option| option.header.as_ref());
    let header = set.find(|header| header.key == names::DESTINATION)?;
    std::str::from_utf8(&header.raw_value).ok()?.split(',').next()?.parse().ok()
}

/// The status and the code of a refusal.
pub(super) fn refusal(response: &ProcessingResponse) -> Option<(u16, String)> {
    let Some(Response::ImmediateResponse(refusal)) = &response.response else { return None };
    let status = refusal.status.as_ref().and_then(|status| u16::try_from(status.code).ok());
    Some((status.unwrap_or_default(), refusal.details.clone()))
}

/// The piece of the request or response body that a reply passes on.
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

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn metadata(namespace: &str, key: &str, value: Value) -> Metadata {
    let fields = [(key.to_owned(), value)].into();
    Metadata { filter_metadata: [(namespace.to_owned(), Struct { fields })].into(), ..Default::default() }
}

fn headers(pairs: &[(&str, &str)]) -> HttpHeaders {
    let header = |(key, value): &(&str, &str)| HeaderValue {
        key: (*key).into(),
        raw_value: (*value).into(),
        ..Default::default()
    };
    HttpHeaders { headers: Some(HeaderMap { headers: pairs.iter().map(header).collect() }), ..Default::default() }
}
