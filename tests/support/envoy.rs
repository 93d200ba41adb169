//! Builders of Envoy's messages, and accessors of the replica's answers.
//!
//! Their names are short, so that a test reads like a transcript.

use murmuration_proto::ext_proc::{
    HeaderMap, HeaderValue, HeadersResponse, HttpBody, HttpHeaders, HttpTrailers, ImmediateResponse, Kind, ListValue,
    Metadata, Mutation, ProcessingRequest, ProcessingResponse, Request, Response, StreamedBodyResponse, Struct, Value,
};
use murmuration_proto::names;

/// A completion request of the model `base`.
pub const COMPLETION: &[u8] = br#"{"model":"base","prompt":"hello","stream":true}"#;

pub fn request_headers(pairs: &[(&str, &str)], end_of_stream: bool) -> ProcessingRequest {
    message(Request::RequestHeaders(headers(pairs, end_of_stream)))
}

/// `POST /v1/completions` with these additional headers.
pub fn post(pairs: &[(&str, &str)]) -> ProcessingRequest {
    let base = [(":method", "POST"), (":path", "/v1/completions"), ("content-type", "application/json")];
    request_headers(&[&base, pairs].concat(), false)
}

/// `GET /v1/models`, headers only.
pub fn get() -> ProcessingRequest {
    request_headers(&[(":method", "GET"), (":path", "/v1/models")], true)
}

pub fn request_body(bytes: &[u8], end_of_stream: bool) -> ProcessingRequest {
    message(Request::RequestBody(HttpBody { body: bytes.to_vec(), end_of_stream, ..Default::default() }))
}

pub fn request_trailers() -> ProcessingRequest {
    message(Request::RequestTrailers(HttpTrailers::default()))
}

pub fn response_headers(pairs: &[(&str, &str)], end_of_stream: bool) -> ProcessingRequest {
    message(Request::ResponseHeaders(headers(pairs, end_of_stream)))
}

/// The headers of a streamed answer.
pub fn streaming() -> ProcessingRequest {
    response_headers(&[(":status", "200"), ("content-type", "text/event-stream; charset=utf-8")], false)
}

/// The headers of an answer in one JSON document.
pub fn json() -> ProcessingRequest {
    response_headers(&[(":status", "200"), ("content-type", "application/json")], false)
}

pub fn response_body(bytes: &[u8], end_of_stream: bool) -> ProcessingRequest {
    message(Request::ResponseBody(HttpBody { body: bytes.to_vec(), end_of_stream, ..Default::default() }))
}

pub fn response_trailers() -> ProcessingRequest {
    message(Request::ResponseTrailers(HttpTrailers::default()))
}

/// The same message with a subset hint.
pub fn hinted(message: ProcessingRequest, endpoints: &[&str]) -> ProcessingRequest {
    let values = endpoints.iter().map(|endpoint| text(endpoint)).collect();
    let list = Value { kind: Some(Kind::ListValue(ListValue { values })) };
    with_metadata(message, names::SUBSET_NAMESPACE, names::SUBSET, list)
}

/// The same message with the metadata that names the endpoint that served.
pub fn served(message: ProcessingRequest, endpoint: &str) -> ProcessingRequest {
    with_metadata(message, names::LB_NAMESPACE, names::DESTINATION_SERVED, text(endpoint))
}

pub fn answered(response: &ProcessingResponse) -> &HeadersResponse {
    match response.response.as_ref().unwrap() {
        Response::RequestHeaders(answer) | Response::ResponseHeaders(answer) => answer,
        other => panic!("no answer to headers: {other:?}"),
    }
}

/// The headers that an answer sets, by name, in order.
pub fn set(response: &ProcessingResponse) -> Vec<(String, String)> {
    let mutation = answered(response).response.as_ref().unwrap().header_mutation.as_ref().unwrap();
    let header = |one: &HeaderValue| (one.key.clone(), String::from_utf8(one.raw_value.clone()).unwrap());
    mutation.set_headers.iter().map(|option| header(option.header.as_ref().unwrap())).collect()
}

/// The value of one header that an answer sets.
pub fn value(response: &ProcessingResponse, name: &str) -> Option<String> {
    set(response).into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

/// The headers that an answer removes.
pub fn removed(response: &ProcessingResponse) -> Vec<String> {
    answered(response).response.as_ref().unwrap().header_mutation.as_ref().unwrap().remove_headers.clone()
}

/// The destination in an answer's header.
pub fn destination(response: &ProcessingResponse) -> String {
    value(response, names::DESTINATION).expect("a destination")
}

/// The text of an answer's metadata under `envoy.lb`.
pub fn load_balancer(response: &ProcessingResponse, key: &str) -> Option<String> {
    let Some(Kind::StructValue(inner)) = &response.dynamic_metadata.as_ref()?.fields.get(names::LB_NAMESPACE)?.kind
    else {
        panic!("{:?}", response.dynamic_metadata);
    };
    match inner.fields.get(key)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text.clone()),
        other => panic!("{other:?}"),
    }
}

pub fn piece(response: &ProcessingResponse) -> &StreamedBodyResponse {
    let (Response::RequestBody(answer) | Response::ResponseBody(answer)) = response.response.as_ref().unwrap() else {
        panic!("no piece of a body: {response:?}");
    };
    match answer.response.as_ref().unwrap().body_mutation.as_ref().unwrap().mutation.as_ref().unwrap() {
        Mutation::StreamedResponse(piece) => piece,
        other => panic!("{other:?}"),
    }
}

pub fn immediate(response: &ProcessingResponse) -> &ImmediateResponse {
    match response.response.as_ref().unwrap() {
        Response::ImmediateResponse(answer) => answer,
        other => panic!("no immediate response: {other:?}"),
    }
}

/// Status, dropped reason and body of an immediate response.
pub fn refusal(response: &ProcessingResponse) -> (i32, String, String) {
    let answer = immediate(response);
    let set = &answer.headers.as_ref().unwrap().set_headers;
    let header = set.iter().filter_map(|one| one.header.as_ref()).find(|one| one.key == names::DROPPED_REASON);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (answer.status.as_ref().unwrap().code, text(&header.unwrap().raw_value), text(&answer.body))
}

fn message(request: Request) -> ProcessingRequest {
    ProcessingRequest { request: Some(request), ..Default::default() }
}

fn headers(pairs: &[(&str, &str)], end_of_stream: bool) -> HttpHeaders {
    let header = |(key, value): &(&str, &str)| HeaderValue {
        key: (*key).into(),
        raw_value: (*value).into(),
        ..Default::default()
    };
    let headers = pairs.iter().map(header).collect();
    HttpHeaders { headers: Some(HeaderMap { headers }), end_of_stream, ..Default::default() }
}

fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.to_owned())) }
}

fn with_metadata(message: ProcessingRequest, namespace: &str, key: &str, value: Value) -> ProcessingRequest {
    let fields = [(key.to_owned(), value)].into();
    let metadata =
        Metadata { filter_metadata: [(namespace.to_owned(), Struct { fields })].into(), ..Default::default() };
    ProcessingRequest { metadata_context: Some(metadata), ..message }
}
