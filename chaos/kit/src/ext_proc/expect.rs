//! Envoy's messages of the usual kinds, and accessors of a reply that panic where a test expects something else.
//!
//! Their names are short, so that a test reads like a transcript.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use murmuration_proto::ext_proc::{
    HeaderValue, HeadersResponse, Kind, ProcessingRequest, ProcessingResponse, Response, StreamedBodyResponse,
};
use murmuration_proto::names;

pub use super::{
    hinted, request_body, request_headers, request_trailers, response_body, response_headers, response_trailers, served,
};

/// A completion request of the model `base`.
pub const COMPLETION: &[u8] = br#"{"model":"base","prompt":"hello","stream":true}"#;

/// `POST /v1/completions` with these additional headers.
pub fn post(pairs: &[(&str, &str)]) -> ProcessingRequest {
    let base = [(":method", "POST"), (":path", "/v1/completions"), ("content-type", "application/json")];
    request_headers(&[&base, pairs].concat(), false)
}

/// `GET /v1/models`, headers only.
pub fn get() -> ProcessingRequest {
    request_headers(&[(":method", "GET"), (":path", "/v1/models")], true)
}

/// The headers of a streamed answer.
pub fn streaming() -> ProcessingRequest {
    response_headers(&[(":status", "200"), ("content-type", "text/event-stream; charset=utf-8")], false)
}

/// The headers of an answer in one JSON document.
pub fn json() -> ProcessingRequest {
    response_headers(&[(":status", "200"), ("content-type", "application/json")], false)
}

/// The reply to headers, the request's or the answer's.
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

/// The piece of a body that a reply passes on.
pub fn piece(response: &ProcessingResponse) -> &StreamedBodyResponse {
    super::piece(response).unwrap_or_else(|| panic!("no piece of a body: {response:?}"))
}

/// Status, dropped reason and body of an immediate response.
pub fn refusal(response: &ProcessingResponse) -> (i32, String, String) {
    let Some(Response::ImmediateResponse(answer)) = &response.response else {
        panic!("no immediate response: {response:?}");
    };
    let set = &answer.headers.as_ref().unwrap().set_headers;
    let header = set.iter().filter_map(|one| one.header.as_ref()).find(|one| one.key == names::DROPPED_REASON);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (answer.status.as_ref().unwrap().code, text(&header.unwrap().raw_value), text(&answer.body))
}
