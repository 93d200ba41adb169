//! Every message this replica sends to Envoy, built in one place.
//!
//! Must not know when a message is due. Headers are set with `raw_value` and overwrite. The client's own headers are
//! not written back, so Envoy keeps them as received, duplicates included.

use murmuration::request::Refusal;
use murmuration::schedule::Header;
use murmuration_proto::ext_proc::{
    BodyMutation, BodyResponse, CommonResponse, HeaderAppendAction, HeaderMutation, HeaderValue, HeaderValueOption,
    HeadersResponse, HttpStatus, ImmediateResponse, Mutation, ProcessingResponse, Response, StreamedBodyResponse,
    TrailersResponse,
};
use murmuration_proto::names;

use super::metadata;

/// What the answer to the request's headers carries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestAnswer {
    /// `ip:port[,ip:port...]`.
    pub destination: String,
    /// Size of the body as it is sent on; `None` where there is none.
    pub content_length: Option<usize>,
    /// The generated id, where the client sent none.
    pub request_id: Option<String>,
    /// Trace headers.
    pub trace: Vec<(&'static str, String)>,
    /// Headers that plugins add. The picker's own win.
    pub added: Vec<Header>,
    /// Headers that tell a sidecar the endpoints of further stages.
    pub stages: Vec<(&'static str, String)>,
    /// Client-set control headers to remove.
    pub remove: Vec<String>,
}

// === impl RequestAnswer ===

impl RequestAnswer {
    /// The answer to the request's headers: the destination in a header and in `envoy.lb`, both the same.
    pub fn into_response(self) -> ProcessingResponse {
        // A header that is both removed and set might be lost, by the order in which a proxy does so.
        let is_set = |name: &String| {
            let stages = self.stages.iter().map(|(set, _)| *set);
            stages.chain(self.added.iter().map(Header::name)).any(|set| name.eq_ignore_ascii_case(set))
        };
        let remove_headers = self.remove.iter().filter(|name| !is_set(name)).cloned().collect();
        let mut set = Vec::with_capacity(3 + self.trace.len() + self.stages.len() + self.added.len());
        // The last of two with one name counts.
        set.extend(self.added.into_iter().map(added));
        set.push(header(names::DESTINATION, self.destination.clone()));
        set.extend(self.content_length.map(|length| header("content-length", length.to_string())));
        set.extend(self.request_id.map(|id| header(names::REQUEST_ID, id)));
        set.extend(self.stages.into_iter().map(|(name, value)| header(name, value)));
        set.extend(self.trace.into_iter().map(|(name, value)| header(name, value)));
        let common = CommonResponse {
            clear_route_cache: true,
            header_mutation: Some(HeaderMutation { set_headers: set, remove_headers }),
            ..Default::default()
        };
        ProcessingResponse {
            dynamic_metadata: Some(metadata::load_balancer(&self.destination)),
            ..message(Response::RequestHeaders(HeadersResponse { response: Some(common) }))
        }
    }
}

/// One piece of the request's body.
pub fn request_piece(body: Vec<u8>, end_of_stream: bool) -> ProcessingResponse {
    message(Response::RequestBody(piece(body, end_of_stream)))
}

/// The request's trailers go on as they are.
pub fn request_trailers() -> ProcessingResponse {
    message(Response::RequestTrailers(TrailersResponse::default()))
}

/// The answer to the response's headers. `drop_length` removes the length where the body's size may change on its way.
/// `plugins` are the headers that plugins add, `token` tells a session its endpoint.
pub fn response_headers(drop_length: bool, plugins: Vec<Header>, token: Option<(&str, String)>) -> ProcessingResponse {
    let remove = if drop_length { vec!["content-length".to_owned()] } else { Vec::new() };
    let mut set: Vec<HeaderValueOption> = plugins.into_iter().map(added).collect();
    set.push(header(names::WENT_INTO_RESPONSE, "true".to_owned()));
    set.extend(token.map(|(name, value)| header(name, value)));
    let common = CommonResponse {
        header_mutation: Some(HeaderMutation { set_headers: set, remove_headers: remove }),
        ..Default::default()
    };
    message(Response::ResponseHeaders(HeadersResponse { response: Some(common) }))
}

/// The response's headers go on as they are: the answer is not an engine's.
pub fn response_headers_as_they_are() -> ProcessingResponse {
    message(Response::ResponseHeaders(HeadersResponse { response: Some(CommonResponse::default()) }))
}

/// A piece of the response's body goes on as it is, in a mode in which it can't be replaced by pieces.
pub fn response_body_as_it_is() -> ProcessingResponse {
    message(Response::ResponseBody(BodyResponse { response: Some(CommonResponse::default()) }))
}

/// One piece of the response's body.
pub fn response_piece(body: Vec<u8>, end_of_stream: bool) -> ProcessingResponse {
    message(Response::ResponseBody(piece(body, end_of_stream)))
}

/// The response's trailers go on as they are.
pub fn response_trailers() -> ProcessingResponse {
    message(Response::ResponseTrailers(TrailersResponse::default()))
}

/// The replica answers the client itself.
pub fn immediate(refusal: &Refusal) -> ProcessingResponse {
    let set_headers = vec![
        header(names::DROPPED_REASON, refusal.code.as_str().to_owned()),
        header("content-type", "text/plain".to_owned()),
    ];
    message(Response::ImmediateResponse(ImmediateResponse {
        status: Some(HttpStatus { code: i32::from(refusal.code.status()) }),
        headers: Some(HeaderMutation { set_headers, remove_headers: Vec::new() }),
        body: refusal.to_string().into_bytes(),
        details: refusal.code.as_str().to_owned(),
        ..Default::default()
    }))
}

fn message(response: Response) -> ProcessingResponse {
    ProcessingResponse { response: Some(response), ..Default::default() }
}

fn piece(body: Vec<u8>, end_of_stream: bool) -> BodyResponse {
    let streamed = StreamedBodyResponse { body, end_of_stream, ..Default::default() };
    let mutation = BodyMutation { mutation: Some(Mutation::StreamedResponse(streamed)) };
    BodyResponse { response: Some(CommonResponse { body_mutation: Some(mutation), ..Default::default() }) }
}

fn added(one: Header) -> HeaderValueOption {
    header(one.name(), one.value().to_owned())
}

fn header(name: &str, value: String) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), raw_value: value.into_bytes(), ..Default::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..Default::default()
    }
}
