//! The exchange, case by case. `TestStream` plays Envoy and the scheduler.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod request;
mod response;
mod stages;

use std::sync::Arc;

use murmuration::config::blueprint::PrefixSettings;
use murmuration::event::{Event, RequestFinished};
use murmuration::id::{EndpointId, SessionKey};
use murmuration::prefix::PrefixMatch;
use murmuration::request::{Outcome, RefusalCode, Usage};
use murmuration::schedule::{Decision, Explanation, Leg, SessionRules, Stage, Target};
use murmuration_proto::ext_proc::{
    BodySendMode, HeaderMap, HeaderValue, HttpBody, HttpHeaders, HttpTrailers, ImmediateResponse, Kind, Metadata,
    Mutation, ProtocolConfiguration, Response, StreamedBodyResponse, Struct, Value,
};
use murmuration_proto::names;

use super::*;
use crate::ext_proc::control::TrustedSpelling;
use crate::ext_proc::settings::ResponsePath;

pub(in crate::ext_proc) fn settings() -> Settings {
    Settings::new(PrefixSettings {
        enabled: true,
        block_tokens: 64,
        blocks_max: 256,
        capacity_blocks: 1_000,
        auto_tune: false,
        bytes_per_token: 4,
    })
}

pub(super) fn decision(addresses: &[&str]) -> Decision {
    let target = |address: &&str| Target {
        endpoint: EndpointId::new("default", address),
        address: address.parse().unwrap(),
        matched: PrefixMatch { blocks: 1, of: 2 },
        score: 1.0,
    };
    let leg = Leg::new(Stage::Decode, addresses.iter().map(target).collect());
    Decision::new(vec![leg], Explanation::default())
}

pub(super) fn message(request: Request) -> ProcessingRequest {
    ProcessingRequest { request: Some(request), ..Default::default() }
}

pub(super) fn headers(pairs: &[(&str, &str)], end_of_stream: bool) -> HttpHeaders {
    let header = |(key, value): &(&str, &str)| HeaderValue {
        key: (*key).into(),
        raw_value: (*value).into(),
        ..Default::default()
    };
    let headers = Some(HeaderMap { headers: pairs.iter().map(header).collect() });
    HttpHeaders { headers, end_of_stream, ..Default::default() }
}

pub(super) fn body(bytes: &[u8], end_of_stream: bool) -> HttpBody {
    HttpBody { body: bytes.to_vec(), end_of_stream, ..Default::default() }
}

fn metadata(namespace: &str, key: &str, text: &str) -> Option<Metadata> {
    let fields = [(key.to_owned(), Value { kind: Some(Kind::StringValue(text.into())) })].into();
    Some(Metadata { filter_metadata: [(namespace.to_owned(), Struct { fields })].into(), ..Default::default() })
}

struct TestStream {
    exchange: Exchange,
    out: Outbox,
    millis: u64,
}

impl TestStream {
    fn new(settings: Settings) -> Self {
        Self { exchange: Exchange::new(Arc::new(settings), 7, Timestamp::ZERO), out: Outbox::new(), millis: 0 }
    }

    /// Passes in a message, a millisecond after the last one.
    fn on(&mut self, message: ProcessingRequest) -> Result<Step, Fault> {
        self.millis += 1;
        self.exchange.on(message, Timestamp::from_millis(self.millis), &mut self.out)
    }

    fn head(&mut self, pairs: &[(&str, &str)], end: bool) -> Step {
        let mut all = vec![(":path", "/v1/completions"), ("x-request-id", "r1")];
        all.retain(|(name, _)| !pairs.iter().any(|(own, _)| own == name));
        all.extend(pairs);
        self.on(message(Request::RequestHeaders(headers(&all, end)))).unwrap()
    }

    fn chunk(&mut self, bytes: &[u8], end: bool) -> Step {
        self.on(message(Request::RequestBody(body(bytes, end)))).unwrap()
    }

    fn decide(&mut self, addresses: &[&str]) -> Vec<Response> {
        self.millis += 1;
        let now = Timestamp::from_millis(self.millis);
        self.exchange.decided(&decision(addresses), Vec::new(), now, &mut self.out);
        self.sent()
    }

    fn answer_head(&mut self, pairs: &[(&str, &str)], end: bool) -> Step {
        self.on(message(Request::ResponseHeaders(headers(pairs, end)))).unwrap()
    }

    fn answer(&mut self, bytes: &[u8], end: bool) -> Step {
        self.on(message(Request::ResponseBody(body(bytes, end)))).unwrap()
    }

    fn sent(&mut self) -> Vec<Response> {
        self.out.drain(..).map(|message| message.response.unwrap()).collect()
    }

    fn end(&mut self) -> RequestEnd {
        self.exchange.finish(self.out.is_empty(), Timestamp::from_millis(self.millis + 1)).unwrap()
    }

    fn finished(&mut self) -> RequestFinished {
        match self.end().event {
            Event::RequestFinished(finished) => *finished,
            other => panic!("{other:?}"),
        }
    }

    /// A whole request, asked and answered.
    fn sent_on(settings: Settings, head: &[(&str, &str)], request: &[u8]) -> (Self, Vec<Response>) {
        let mut stream = Self::new(settings);
        assert!(matches!(stream.head(head, false), Step::More));
        assert!(matches!(stream.chunk(request, true), Step::Ask(_)));
        let sent = stream.decide(&["10.0.0.1:8000"]);
        (stream, sent)
    }
}

fn asked(step: Step) -> InferenceRequest {
    match step {
        Step::Ask(request) => *request,
        other => panic!("{other:?}"),
    }
}

fn piece(response: &Response) -> &StreamedBodyResponse {
    let common = match response {
        Response::RequestBody(body) | Response::ResponseBody(body) => body.response.as_ref().unwrap(),
        other => panic!("{other:?}"),
    };
    match common.body_mutation.as_ref().unwrap().mutation.as_ref().unwrap() {
        Mutation::StreamedResponse(piece) => piece,
        other => panic!("{other:?}"),
    }
}

fn header(response: &Response, name: &str) -> Option<String> {
    let (Response::RequestHeaders(answer) | Response::ResponseHeaders(answer)) = response else {
        panic!("{response:?}")
    };
    let mutation = answer.response.as_ref().unwrap().header_mutation.as_ref().unwrap();
    let found =
        mutation.set_headers.iter().map(|option| option.header.as_ref().unwrap()).find(|one| one.key == name)?;
    Some(String::from_utf8(found.raw_value.clone()).unwrap())
}

fn immediate(response: &Response) -> (&ImmediateResponse, i32) {
    match response {
        Response::ImmediateResponse(immediate) => (immediate, immediate.status.unwrap().code),
        other => panic!("{other:?}"),
    }
}

const CHAT: &[u8] = br#"{"model":"base","stream":true,"prompt":"hello"}"#;
