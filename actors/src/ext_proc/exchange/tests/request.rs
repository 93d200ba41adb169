//! The request: collected, put to the scheduler and sent on, or refused.

use super::*;

#[test]
fn a_body_that_ends_by_trailers_is_asked_for_and_no_piece_marks_its_end() {
    let mut stream = TestStream::new(settings());
    stream.head(&[], false);
    assert!(matches!(stream.chunk(CHAT, false), Step::More));
    let step = stream.on(message(Request::RequestTrailers(HttpTrailers::default()))).unwrap();
    assert_eq!(asked(step).incoming_model, "base");
    let sent = stream.decide(&["10.0.0.1:8000"]);
    assert!(!piece(&sent[1]).end_of_stream);
    assert!(matches!(&sent[2..], [Response::RequestTrailers(_)]));
}

#[test]
fn an_empty_last_chunk_ends_the_body_and_the_end_is_on_the_last_piece() {
    let mut stream = TestStream::new(settings());
    stream.head(&[], false);
    stream.chunk(CHAT, false);
    assert!(matches!(stream.chunk(b"", true), Step::Ask(_)));
    let sent = stream.decide(&["10.0.0.1:8000"]);
    assert_eq!((sent.len(), piece(&sent[1]).end_of_stream), (2, true));
}

#[test]
fn an_empty_body_is_one_empty_piece_and_without_a_length() {
    let (_, sent) = TestStream::sent_on(settings(), &[], b"");
    assert_eq!(header(&sent[0], "content-length"), None);
    assert_eq!(sent.len(), 2);
    assert!(piece(&sent[1]).body.is_empty() && piece(&sent[1]).end_of_stream);
}

#[test]
fn chunks_after_the_end_are_ignored() {
    let (mut stream, _) = TestStream::sent_on(settings(), &[], CHAT);
    assert!(matches!(stream.chunk(b"late", true), Step::More));
    assert!(stream.sent().is_empty());
}

#[test]
fn headers_alone_are_asked_for_like_any_other_request() {
    let mut stream = TestStream::new(settings());
    let mut request = message(Request::RequestHeaders(headers(&[(":path", "/v1/models")], true)));
    request.metadata_context = metadata(names::SUBSET_NAMESPACE, names::SUBSET, "[::1]:8001");
    let request = asked(stream.on(request).unwrap());
    assert_eq!(request.subset, Some(vec!["[::1]:8001".parse().unwrap()].into()));
    let sent = stream.decide(&["[::1]:8001", "10.0.0.2:80"]);
    assert_eq!(sent.len(), 1);
    assert_eq!(header(&sent[0], names::DESTINATION).unwrap(), "[::1]:8001,10.0.0.2:80");
    assert_eq!(header(&sent[0], names::REQUEST_ID).unwrap(), request.id);
}

#[test]
fn the_latest_subset_hint_counts_whatever_message_brings_it() {
    let mut stream = TestStream::new(settings());
    let with = |request, hint| ProcessingRequest {
        metadata_context: metadata(names::SUBSET_NAMESPACE, names::SUBSET, hint),
        ..message(request)
    };
    stream.on(with(Request::RequestHeaders(headers(&[], false)), "10.0.0.1:1")).unwrap();
    stream.on(with(Request::RequestBody(body(CHAT, false)), "10.0.0.2:2")).unwrap();
    let request = asked(stream.chunk(b"", true));
    assert_eq!(request.subset, Some(vec!["10.0.0.2:2".parse().unwrap()].into()));
}

#[test]
fn a_body_at_the_limit_passes_and_one_byte_more_is_413() {
    let mut limited = settings();
    limited.limits.body_bytes = CHAT.len() as u64;
    let (_, sent) = TestStream::sent_on(limited.clone(), &[], CHAT);
    assert_eq!(sent.len(), 2);
    let mut stream = TestStream::new(limited);
    stream.head(&[], false);
    stream.chunk(CHAT, false);
    assert!(matches!(stream.chunk(b"x", true), Step::Over));
    assert_eq!(immediate(&stream.sent()[0]).1, 413);
    assert!(matches!(stream.end().event, Event::Refused { code: RefusalCode::BodyTooLarge, .. }));
}

#[test]
fn a_body_that_is_not_valid_for_its_path_is_400_with_the_reason() {
    let mut stream = TestStream::new(settings());
    stream.head(&[], false);
    assert!(matches!(stream.chunk(b"{", true), Step::Over));
    let sent = stream.sent();
    let (answer, status) = immediate(&sent[0]);
    assert_eq!(status, 400);
    assert!(answer.body.starts_with(b"inference error: BadRequest - "));
}

#[test]
fn a_refusal_has_status_reason_and_sentence() {
    let mut stream = TestStream::new(settings());
    stream.head(&[], true);
    let refusal = Refusal::new(RefusalCode::Saturated, "system saturated, sheddable request dropped");
    stream.exchange.refuse(refusal, &mut stream.out);
    let sent = stream.sent();
    let (answer, status) = immediate(&sent[0]);
    assert_eq!(status, 429);
    assert_eq!(answer.body, b"inference error: ResourceExhausted - system saturated, sheddable request dropped");
    let set = &answer.headers.as_ref().unwrap().set_headers;
    let pairs: Vec<_> =
        set.iter().map(|one| one.header.as_ref().unwrap()).map(|one| one.raw_value.as_slice()).collect();
    assert_eq!(pairs, [b"rejected-saturated".as_slice(), b"text/plain"]);
    assert!(stream.exchange.is_over());
}

#[test]
fn an_unserved_body_mode_is_reported_with_its_fix() {
    let with = |request: BodySendMode, response: BodySendMode, end: bool| {
        let protocol_config = Some(ProtocolConfiguration {
            request_body_mode: request.into(),
            response_body_mode: response.into(),
            ..Default::default()
        });
        let head = message(Request::RequestHeaders(headers(&[], end)));
        TestStream::new(settings()).on(ProcessingRequest { protocol_config, ..head })
    };
    let duplex = BodySendMode::FullDuplexStreamed;
    let fault = with(BodySendMode::Buffered, duplex, false).unwrap_err().to_string();
    assert!(fault.contains("BUFFERED") && fault.contains("request_body_mode to FULL_DUPLEX_STREAMED"), "{fault}");
    assert!(with(duplex, BodySendMode::Streamed, false).unwrap_err().to_string().contains("response_body"));
    assert!(with(BodySendMode::None, duplex, false).is_err(), "the body would never come");
    assert!(with(BodySendMode::None, BodySendMode::None, true).is_ok());
    assert!(with(duplex, duplex, false).is_ok());
}

#[test]
fn a_misplaced_message_is_named_with_the_state() {
    let came = |messages: Vec<Request>| {
        let mut stream = TestStream::new(settings());
        let faults: Vec<String> = messages
            .into_iter()
            .filter_map(|one| stream.on(message(one)).err())
            .map(|fault| fault.to_string())
            .collect();
        faults.join("; ")
    };
    let head = || Request::RequestHeaders(headers(&[], false));
    let trailers = || Request::RequestTrailers(HttpTrailers::default());
    assert!(
        came(vec![Request::RequestBody(body(b"", true))]).starts_with("request body came before the request's headers")
    );
    assert!(came(vec![head(), head()]).starts_with("request headers came while the request was still coming"));
    assert!(came(vec![head(), trailers(), trailers()]).starts_with("request trailers came after the request's end"));
    assert_eq!(TestStream::new(settings()).on(ProcessingRequest::default()).unwrap_err(), Fault::Empty);
}

#[test]
fn a_long_body_is_read_apart_and_then_asked_for() {
    let mut apart = settings();
    apart.limits.read_inline_bytes = CHAT.len() - 1;
    let mut stream = TestStream::new(apart.clone());
    stream.head(&[("x-llm-d-model-name-rewrite", "other"), ("x-prefiller-url", "evil")], false);
    let Step::Read(unread) = stream.chunk(CHAT, true) else { panic!("read at once") };
    assert!(stream.sent().is_empty());
    let request = asked(stream.exchange.read(unread.read(), &mut stream.out));
    assert_eq!((request.target_model.as_str(), request.body_bytes), ("other", CHAT.len() as u64));
    let sent = stream.decide(&["10.0.0.1:8000"]);
    assert!(piece(&sent[1]).body.starts_with(br#"{"model":"other""#));

    let mut cut = TestStream::new(apart);
    cut.head(&[], false);
    cut.chunk(CHAT, true);
    assert_eq!(cut.finished().outcome, Outcome::Abandoned, "the client went away while it was read");
}

#[test]
fn control_headers_that_contradict_each_other_are_400_with_both_names() {
    let mut stream = TestStream::new(settings());
    let both = [("x-gateway-model-name-rewrite", "small"), ("x-llm-d-model-name-rewrite", "large")];
    stream.head(&both, false);
    assert!(matches!(stream.chunk(CHAT, true), Step::Over));
    let sent = stream.sent();
    let (answer, status) = immediate(&sent[0]);
    let body_text = String::from_utf8_lossy(&answer.body);
    assert!(status == 400 && both.iter().all(|(name, _)| body_text.contains(name)), "{body_text}");

    let mut gateways = TestStream::new(Settings { trusted: TrustedSpelling::Gateway, ..settings() });
    gateways.head(&both, false);
    assert_eq!(asked(gateways.chunk(CHAT, true)).target_model, "small");
    let sent = gateways.decide(&["10.0.0.1:8000"]);
    let Response::RequestHeaders(answer) = &sent[0] else { panic!("{sent:?}") };
    let removed = &answer.response.as_ref().unwrap().header_mutation.as_ref().unwrap().remove_headers;
    assert_eq!(removed.len(), 2, "neither goes on to the engine");
}

#[test]
fn an_id_that_is_too_long_is_known_by_its_beginning_and_goes_on_as_it_is() {
    let mut stream = TestStream::new(settings());
    let id = format!("{}é{}", "i".repeat(255), "i".repeat(1_000));
    stream.head(&[("x-request-id", &id)], false);
    let request = asked(stream.chunk(CHAT, true));
    assert_eq!(request.id, "i".repeat(255), "cut where a character begins");
    assert_eq!(header(&stream.decide(&["10.0.0.1:8000"])[0], names::REQUEST_ID), None);
}

#[test]
fn a_stream_on_which_nothing_came_has_no_end_event() {
    assert!(TestStream::new(settings()).exchange.finish(true, Timestamp::ZERO).is_none());
}
