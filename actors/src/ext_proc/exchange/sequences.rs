//! Any sequence of messages, valid or not: no panic, one question to the scheduler at most, and replies in Envoy's
//! order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use murmuration::request::RefusalCode;
use murmuration_proto::ext_proc::{HttpTrailers, Metadata, Mutation, Response};
use proptest::prelude::*;

use super::tests::{body, decision, headers, message, settings};
use super::*;
use crate::ext_proc::settings::ResponsePath;

/// How far a direction of the stream was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
enum Part {
    #[default]
    Nothing,
    Headers,
    Body,
    Ended,
}

/// Checks the messages that are sent to Envoy.
#[derive(Default)]
struct OrderChecker {
    request: Part,
    response: Part,
    immediate: bool,
}

impl OrderChecker {
    fn check(&mut self, sent: ProcessingResponse) {
        assert!(!self.immediate, "nothing follows an immediate response");
        match sent.response.unwrap() {
            Response::RequestHeaders(_) => Self::advance(&mut self.request, Part::Headers),
            Response::RequestBody(answer) => {
                let next = Self::part(answer.response.unwrap().body_mutation.unwrap().mutation.unwrap());
                Self::follow_headers(&mut self.request, next);
            }
            Response::RequestTrailers(_) => Self::follow_headers(&mut self.request, Part::Ended),
            Response::ResponseHeaders(_) => self.answer(Part::Headers),
            Response::ResponseBody(answer) => {
                let next = Self::part(answer.response.unwrap().body_mutation.unwrap().mutation.unwrap());
                self.answer(next);
            }
            Response::ResponseTrailers(_) => self.answer(Part::Ended),
            Response::ImmediateResponse(_) => {
                assert_eq!((self.request, self.response), (Part::Nothing, Part::Nothing));
                self.immediate = true;
            }
            Response::StreamedImmediateResponse(_) => panic!("never sent"),
        }
    }

    fn part(mutation: Mutation) -> Part {
        match mutation {
            Mutation::StreamedResponse(piece) => {
                assert!(piece.body.len() <= crate::ext_proc::body::PIECE_BYTES);
                if piece.end_of_stream { Part::Ended } else { Part::Body }
            }
            other => panic!("{other:?}"),
        }
    }

    /// Each message of a response is answered by one of its kind, whatever came before. Nothing follows its end.
    fn answer(&mut self, next: Part) {
        assert!(self.response < Part::Ended, "{next:?} after the end");
        self.response = next;
    }

    fn advance(at: &mut Part, to: Part) {
        assert!(*at < to, "{to:?} after {at:?}");
        *at = to;
    }

    fn follow_headers(at: &mut Part, to: Part) {
        assert!(*at >= Part::Headers && *at < Part::Ended, "{to:?} after {at:?}");
        *at = to;
    }
}

fn any_message() -> impl Strategy<Value = ProcessingRequest> {
    let path = prop_oneof![Just("/v1/completions"), Just("/v1/models"), Just("")];
    let head = (path, any::<bool>(), prop::option::of(Just(("x-llm-d-model-name-rewrite", "other"))))
        .prop_map(|(path, end, rewrite)| {
            let mut pairs = vec![(":path", path), (":status", "200"), ("content-type", "text/event-stream")];
            pairs.extend(rewrite);
            headers(&pairs, end)
        })
        .boxed();
    let bytes = prop_oneof![
        Just(br#"{"model":"base","prompt":"x"}"#.to_vec()),
        Just(b"data: {\"model\":\"other\"}\n\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..64),
        Just(Vec::new()),
        Just(vec![b' '; 130_000]),
    ];
    let chunk = (bytes, any::<bool>()).prop_map(|(bytes, end)| body(&bytes, end)).boxed();
    let request = prop_oneof![
        3 => head.clone().prop_map(Request::RequestHeaders).prop_map(Some),
        6 => chunk.clone().prop_map(Request::RequestBody).prop_map(Some),
        1 => Just(Some(Request::RequestTrailers(HttpTrailers::default()))),
        3 => head.prop_map(Request::ResponseHeaders).prop_map(Some),
        6 => chunk.prop_map(Request::ResponseBody).prop_map(Some),
        1 => Just(Some(Request::ResponseTrailers(HttpTrailers::default()))),
        1 => Just(None),
    ];
    request.prop_map(|request| ProcessingRequest {
        metadata_context: Some(Metadata::default()),
        ..request.map(message).unwrap_or_default()
    })
}

/// Valid beginnings make deep states likely.
fn any_sequence() -> impl Strategy<Value = Vec<ProcessingRequest>> {
    let valid = || {
        vec![
            message(Request::RequestHeaders(headers(&[(":path", "/v1/completions")], false))),
            message(Request::RequestBody(body(br#"{"model":"base","prompt":"x"}"#, true))),
            message(Request::ResponseHeaders(headers(&[(":status", "200")], false))),
            message(Request::ResponseBody(body(b"answer", false))),
        ]
    };
    (0usize..5, prop::collection::vec(any_message(), 0..12)).prop_map(move |(kept, random)| {
        let mut sequence = valid();
        sequence.truncate(kept);
        sequence.extend(random);
        sequence
    })
}

/// Which part of a response a message is.
fn response_part(message: &ProcessingRequest) -> Option<&'static str> {
    match message.request.as_ref()? {
        Request::ResponseHeaders(_) => Some("headers"),
        Request::ResponseBody(_) => Some("body"),
        Request::ResponseTrailers(_) => Some("trailers"),
        _ => None,
    }
}

/// Whether a reply of this kind is sent. A piece of a body may be empty while a possible model name is held back.
fn answers(out: &Outbox, part: &str) -> bool {
    out.iter().any(|sent| match sent.response.as_ref().unwrap() {
        Response::ResponseHeaders(_) => part == "headers",
        Response::ResponseBody(_) => part == "body",
        Response::ResponseTrailers(_) => part == "trailers",
        _ => false,
    })
}

#[derive(Clone, Copy, Debug)]
enum Verdict {
    Decided,
    NoTargets,
    Refused,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_sequence_breaks_the_order_or_leaves_a_ticket_open(
        sequence in any_sequence(),
        verdict in prop_oneof![4 => Just(Verdict::Decided), 1 => Just(Verdict::NoTargets), 1 => Just(Verdict::Refused)],
        leave in any::<bool>(),
    ) {
        let response_path = if leave { ResponsePath::Leave } else { ResponsePath::Stay };
        let settings = Settings { response_path, ..settings() };
        let mut exchange = Exchange::new(Arc::new(settings), 1, Timestamp::ZERO);
        let (mut checker, mut out, mut asked, mut fault) = (OrderChecker::default(), Outbox::new(), 0, false);
        for (index, message) in sequence.into_iter().enumerate() {
            let now = Timestamp::from_millis(index as u64);
            let (over, response) = (exchange.is_over(), response_part(&message));
            let step = exchange.on(message, now, &mut out);
            prop_assert!(response.is_none() || step.is_ok(), "no response is a fault");
            if let (Some(part), false) = (response, over) {
                prop_assert!(answers(&out, part), "a {} that is not answered holds up the client: {:?}", part, out);
            }
            match step {
                Ok(Step::More) => prop_assert!(!exchange.is_over()),
                Ok(Step::Over) => prop_assert!(exchange.is_over()),
                Ok(Step::Read(_)) => prop_assert!(false, "all of these are short"),
                Ok(Step::Ask(_)) => {
                    asked += 1;
                    match verdict {
                        Verdict::Decided => exchange.decided(&decision(&["10.0.0.1:1"]), vec![], now, &mut out),
                        Verdict::NoTargets => exchange.decided(&decision(&[]), vec![], now, &mut out),
                        Verdict::Refused => {
                            let refusal = Refusal::new(RefusalCode::Saturated, "full");
                            exchange.refuse(refusal, &mut out);
                        }
                    }
                    prop_assert!(!out.is_empty(), "every question is answered");
                }
                Err(_) => {
                    prop_assert!(exchange.is_over());
                    fault = true;
                }
            }
            out.drain(..).for_each(|sent| checker.check(sent));
            if fault {
                break;
            }
        }
        prop_assert!(asked <= 1);
        let end = exchange.finish(true, Timestamp::from_millis(99));
        prop_assert!(asked == 0 || end.is_some(), "every ticket is closed");
        prop_assert!(exchange.finish(true, Timestamp::ZERO).is_none());
    }
}
