//! The answer: sent on and inspected.

use super::*;

#[test]
fn a_refusal_after_the_request_was_sent_on_ends_the_stream_without_a_reply() {
    let (mut stream, _) = TestStream::sent_on(settings(), &[], CHAT);
    stream.exchange.refuse(Refusal::new(RefusalCode::ShuttingDown, "stopping"), &mut stream.out);
    assert!(stream.sent().is_empty() && stream.exchange.is_over());
    assert_eq!(stream.finished().outcome, Outcome::Abandoned);
}

#[test]
fn a_rewrite_changes_the_model_alone_and_the_client_gets_its_own_name_back() {
    let request = br#"{"n":12345678901234567890,"model":"mine","model2":"mine","prompt":"<&>"}"#;
    let (mut stream, sent) = TestStream::sent_on(settings(), &[("x-llm-d-model-name-rewrite", "engine's")], request);
    let expected = br#"{"n":12345678901234567890,"model":"engine's","model2":"mine","prompt":"<&>"}"#;
    assert_eq!(piece(&sent[1]).body, expected);
    assert_eq!(header(&sent[0], "content-length").unwrap(), expected.len().to_string());

    stream.answer_head(&[(":status", "200"), ("content-type", "application/json"), ("content-length", "30")], false);
    stream.answer(br#"{"id":"x","model":"engi"#, false);
    stream.answer(br#"ne's","text":"engine's"}"#, true);
    let sent = stream.sent();
    let Response::ResponseHeaders(answer) = &sent[0] else { panic!("{sent:?}") };
    let mutation = answer.response.as_ref().unwrap().header_mutation.as_ref().unwrap();
    assert_eq!(mutation.remove_headers, ["content-length"]);
    let text: Vec<u8> = sent[1..].iter().flat_map(|one| piece(one).body.clone()).collect();
    assert_eq!(text, br#"{"id":"x","model":"mine","text":"engine's"}"#);
    assert!(piece(sent.last().unwrap()).end_of_stream);
}

#[test]
fn an_answer_carries_a_token_of_its_endpoint_and_the_next_request_returns_it() {
    let sessions = SessionRules { token_header: Some("x-session-token".into()), ..SessionRules::default() };
    let settings = Settings { sessions, ..settings() };
    let (mut stream, _) = TestStream::sent_on(settings.clone(), &[], CHAT);
    stream.answer_head(&[(":status", "200")], true);
    let token = header(&stream.sent()[0], "x-session-token").unwrap();

    let mut next = TestStream::new(settings);
    next.head(&[("x-session-token", &token)], false);
    let request = asked(next.chunk(CHAT, true));
    let served = decision(&["10.0.0.1:8000"]).primary().unwrap().endpoint.clone();
    assert_eq!(request.session.token, Some(served));
    next.decide(&["10.0.0.1:8000", "10.0.0.2:8000"]);
    let mut head = message(Request::ResponseHeaders(headers(&[(":status", "200")], true)));
    head.metadata_context = metadata(names::LB_NAMESPACE, names::DESTINATION_SERVED, "10.0.0.2:8000");
    next.on(head).unwrap();
    assert_ne!(header(&next.sent()[0], "x-session-token").unwrap(), token, "a fallback served");
}

#[test]
fn headers_of_plugins_are_added_and_the_picker_s_own_come_last() {
    let header_of = |name: &str, value: &str| murmuration::schedule::Header::new(name, value).unwrap();
    let mut decision = decision(&["10.0.0.1:8000"]);
    decision.request_headers =
        vec![header_of("x-cost", "2"), header_of(names::DESTINATION, "6.6.6.6:6"), header_of(names::PREFILLER[0], "p")];
    decision.response_headers = vec![header_of("x-cost", "3")];
    let mut stream = TestStream::new(settings());
    stream.head(&[("x-cost", "client's"), ("X-Prefiller-Host-Port", "client's")], false);
    asked(stream.chunk(CHAT, true));
    stream.exchange.decided(&decision, Vec::new(), Timestamp::from_millis(9), &mut stream.out);
    let sent = stream.sent();
    let Response::RequestHeaders(answer) = &sent[0] else { panic!("{sent:?}") };
    let mutation = answer.response.as_ref().unwrap().header_mutation.as_ref().unwrap();
    let set = mutation.set_headers.iter().filter_map(|option| option.header.as_ref());
    let last = |name: &str| set.clone().rfind(|header| header.key == name).unwrap().raw_value.clone();
    assert_eq!((last("x-cost"), last(names::DESTINATION)), (b"2".to_vec(), b"10.0.0.1:8000".to_vec()));
    assert!(mutation.remove_headers.is_empty(), "what is set is not removed: {:?}", mutation.remove_headers);
    stream.answer_head(&[(":status", "200")], true);
    assert_eq!(header(&stream.sent()[0], "x-cost").unwrap(), "3");
}

#[test]
fn headers_that_plugins_read_are_in_the_request_and_the_answer_names_the_endpoint_that_served() {
    let [read, named] = ["x-wanted", "x-served"].map(|name| vec![name.to_owned()]);
    let settings = Settings { plugin_headers: read, served_headers: named, ..settings() };
    let mut stream = TestStream::new(settings.clone());
    stream.head(&[("X-Wanted", "10.0.0.2"), ("x-other", "3")], false);
    let request = asked(stream.chunk(CHAT, true));
    assert_eq!(request.headers, [("x-wanted".to_owned(), "10.0.0.2".to_owned())].into());
    stream.decide(&["10.0.0.1:8000", "10.0.0.2:8000"]);
    let mut head = message(Request::ResponseHeaders(headers(&[(":status", "200")], true)));
    head.metadata_context = metadata(names::LB_NAMESPACE, names::DESTINATION_SERVED, "10.0.0.2:8000");
    stream.on(head).unwrap();
    assert_eq!(header(stream.sent().last().unwrap(), "x-served").unwrap(), "10.0.0.2:8000");

    let (mut stream, _) = TestStream::sent_on(settings, &[], CHAT);
    stream.answer_head(&[(":status", "200")], true);
    assert!(header(&stream.sent()[0], "x-served").unwrap().starts_with("fail:"));
}

#[test]
fn a_session_is_known_by_the_first_header_that_names_it_and_no_token_is_sent() {
    let id_headers = vec!["x-session-id".to_owned(), "session-id".to_owned()];
    let settings =
        Settings { sessions: SessionRules { id_headers, ..SessionRules::default() }, tier_salt: 3, ..settings() };
    let mut stream = TestStream::new(settings);
    stream.head(&[("Session-Id", "b"), ("x-session-id", "")], false);
    assert_eq!(asked(stream.chunk(CHAT, true)).session.id, Some(SessionKey::of("default-flow", "b", 3)));
    stream.decide(&["10.0.0.1:8000"]);
    stream.answer_head(&[(":status", "200")], true);
    assert_eq!(header(&stream.sent()[0], "x-session-token"), None);
}

/// A tenant that may ask which prompts were seen learns nothing about another tenant's.
#[test]
fn tenants_share_no_hashes_of_prompts_and_sessions() {
    let sessions = SessionRules { id_headers: vec!["x-session-id".to_owned()], ..SessionRules::default() };
    let settings = Settings { sessions, tenant_header: Some("x-tenant".to_owned()), ..settings() };
    let hashes = |tenant: Option<&str>, salt| {
        let mut stream = TestStream::new(Settings { tier_salt: salt, ..settings.clone() });
        let named = tenant.map(|tenant| ("X-Tenant", tenant));
        stream.head(&named.into_iter().chain([("x-session-id", "s")]).collect::<Vec<_>>(), false);
        let request = asked(stream.chunk(CHAT, true));
        (request.content_hash, request.session.id)
    };
    let all = [hashes(Some("a"), 1), hashes(Some("b"), 1), hashes(None, 1), hashes(Some("a"), 2), hashes(None, 2)];
    for (at, one) in all.iter().enumerate() {
        assert!(all[..at].iter().all(|other| other.0 != one.0 && other.1 != one.1), "{at}");
    }
    assert_eq!(hashes(Some("a"), 1), all[0]);
}

#[test]
fn a_session_is_its_tenants_own() {
    let sessions = SessionRules { id_headers: vec!["x-session-id".to_owned()], ..SessionRules::default() };
    let settings = Settings { sessions, ..settings() };
    let of = |tenant: &str| {
        let mut stream = TestStream::new(settings.clone());
        stream.head(&[("x-session-id", "s"), ("x-gateway-inference-fairness-id", tenant)], false);
        asked(stream.chunk(CHAT, true)).session.id.unwrap()
    };
    assert_eq!((of("a"), of("")), (SessionKey::of("a", "s", 0), SessionKey::of("default-flow", "s", 0)));
    assert_ne!(of("a"), of("b"));
}

#[test]
fn the_first_byte_of_an_error_is_no_first_token() {
    for status in ["400", "429", "500", "503"] {
        let (mut stream, _) = TestStream::sent_on(settings(), &[], CHAT);
        stream.answer_head(&[(":status", status), ("content-type", "application/json")], false);
        stream.answer(b"{}", true);
        assert_eq!(stream.exchange.news(), None, "{status}");
    }
}

#[test]
fn the_address_that_served_is_news_only_when_it_changes() {
    let (mut stream, _) = TestStream::sent_on(settings(), &[], CHAT);
    let served = |address| metadata(names::LB_NAMESPACE, names::DESTINATION_SERVED, address);
    let mut head = message(Request::ResponseHeaders(headers(&[(":status", "200")], false)));
    head.metadata_context = served("10.0.0.2:8000");
    stream.on(head).unwrap();
    // Envoy repeats it with each piece of the answer.
    for address in ["10.0.0.2:8000", "10.0.0.2:8000", "10.0.0.3:8000", "10.0.0.3:8000"] {
        let mut piece = message(Request::ResponseBody(HttpBody::default()));
        piece.metadata_context = served(address);
        stream.on(piece).unwrap();
    }
    let news: Vec<News> = std::iter::from_fn(|| stream.exchange.news()).collect();
    assert_eq!(news, ["10.0.0.2:8000", "10.0.0.3:8000"].map(|address| News::Served(address.parse().unwrap())));
}

#[test]
fn an_answer_goes_on_chunk_by_chunk_and_its_usage_is_read_over_a_split() {
    let (mut stream, _) = TestStream::sent_on(settings(), &[], CHAT);
    let mut head =
        message(Request::ResponseHeaders(headers(&[(":status", "200"), ("content-type", "text/event-stream")], false)));
    head.metadata_context = metadata(names::LB_NAMESPACE, names::DESTINATION_SERVED, "10.0.0.2:8000");
    stream.on(head).unwrap();
    let chunks: [&[u8]; 4] = [
        b": keep-alive\n\n",
        b"data: {\"choices\":[{\"text\":\"a\"}]}\n\n",
        b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"comple",
        b"tion_tokens\":3}}\n\ndata: [DONE]\n\n",
    ];
    for chunk in chunks {
        stream.answer(chunk, false);
    }
    assert!(matches!(stream.answer(b"", true), Step::Over));
    let sent = stream.sent();
    assert_eq!(header(&sent[0], names::WENT_INTO_RESPONSE).unwrap(), "true");
    let bodies: Vec<&[u8]> = sent[1..].iter().map(|one| piece(one).body.as_slice()).collect();
    assert_eq!(bodies[..4], chunks);
    assert_eq!(stream.exchange.news(), Some(News::Served("10.0.0.2:8000".parse().unwrap())));
    assert_eq!((stream.exchange.news(), stream.exchange.news()), (Some(News::FirstToken), None));
    let finished = stream.finished();
    assert_eq!(finished.usage, Some(Usage { prompt_tokens: 7, completion_tokens: 3, cached_tokens: None }));
    assert_eq!((finished.outcome, finished.status, finished.streaming), (Outcome::Completed, Some(200), true));
    assert_eq!(finished.first_token_after.unwrap().as_millis(), 5, "the comment is no token");
    assert!((finished.predicted_share - 0.5).abs() < 1e-9);
}

#[test]
fn a_large_answer_chunk_is_cut_and_trailers_end_the_answer() {
    let (mut stream, _) = TestStream::sent_on(settings(), &[], CHAT);
    stream.answer_head(&[(":status", "200")], false);
    stream.answer(&[b'x'; 130_000], false);
    assert!(matches!(stream.on(message(Request::ResponseTrailers(HttpTrailers::default()))), Ok(Step::Over)));
    let sent = stream.sent();
    let sizes: Vec<usize> = sent[1..4].iter().map(|one| piece(one).body.len()).collect();
    assert_eq!(sizes, [62_000, 62_000, 6_000]);
    assert!(sent[1..4].iter().all(|one| !piece(one).end_of_stream));
    assert!(matches!(&sent[4..], [Response::ResponseTrailers(_)]));
}

#[test]
fn an_error_status_and_an_error_event_are_the_engines_fault() {
    let (mut stream, _) = TestStream::sent_on(settings(), &[], CHAT);
    stream.answer_head(&[(":status", "503")], true);
    assert_eq!(stream.finished().outcome, Outcome::EngineError);
    let (mut stream, _) = TestStream::sent_on(settings(), &[], CHAT);
    stream.answer_head(&[(":status", "200"), ("content-type", "text/event-stream; charset=utf-8")], false);
    stream.answer(b"data: {\"error\": {\"message\": \"busy\", \"code\": 503}}\n\ndata: [DONE]\n\n", true);
    let finished = stream.finished();
    assert_eq!((finished.outcome, finished.first_token_after), (Outcome::EngineError, None));
}

#[test]
fn a_request_that_can_not_be_served_is_rejected_and_is_no_engine_error() {
    for (status, outcome) in [
        ("400", Outcome::Rejected),
        ("404", Outcome::Rejected),
        ("429", Outcome::Rejected),
        ("501", Outcome::Rejected),
        ("500", Outcome::EngineError),
        ("502", Outcome::EngineError),
        ("503", Outcome::EngineError),
        ("504", Outcome::EngineError),
        ("200", Outcome::Completed),
        ("302", Outcome::Completed),
    ] {
        let (mut stream, _) = TestStream::sent_on(settings(), &[], CHAT);
        stream.answer_head(&[(":status", status)], true);
        assert_eq!(stream.finished().outcome, outcome, "{status}");
    }
    let (mut stream, _) = TestStream::sent_on(settings(), &[], CHAT);
    stream.answer_head(&[(":status", "503"), ("x-envoy-overloaded", "true")], true);
    assert_eq!(stream.finished().outcome, Outcome::Rejected, "a circuit breaker of the proxy is not the engine");
}

#[test]
fn the_body_of_an_error_is_no_token() {
    for status in ["400", "500"] {
        let (mut stream, _) = TestStream::sent_on(settings(), &[], CHAT);
        stream.answer_head(&[(":status", status), ("content-type", "application/json")], false);
        stream.answer(b"{\"error\": {\"message\": \"no\"}}", true);
        assert_eq!(stream.exchange.news(), None, "no news that the prompt was computed");
        assert_eq!(stream.finished().first_token_after, None);
    }
}

#[test]
fn a_stream_cut_in_the_answer_is_abandoned() {
    let (mut stream, _) = TestStream::sent_on(settings(), &[], CHAT);
    stream.answer_head(&[(":status", "200")], false);
    stream.answer(b"half", false);
    assert_eq!(stream.end().closing, Closing::Finish(Outcome::Abandoned, None));
    assert!(stream.exchange.finish(true, Timestamp::ZERO).is_none(), "the end is returned once");
}

#[test]
fn leaving_ends_the_stream_after_the_last_piece_and_keeps_the_ticket_open() {
    let leave = Settings { response_path: ResponsePath::Leave, ..settings() };
    let mut stream = TestStream::new(leave.clone());
    stream.head(&[], false);
    assert!(!asked(stream.chunk(CHAT, true)).sees_response);
    stream.decide(&["10.0.0.1:8000"]);
    assert!(stream.exchange.is_over());
    assert_eq!(stream.end().closing, Closing::Leave);

    let (mut cut, _) = TestStream::sent_on(leave, &[], CHAT);
    let end = cut.exchange.finish(false, Timestamp::ZERO).unwrap();
    assert_eq!(end.closing, Closing::Finish(Outcome::Abandoned, None), "Envoy did not take everything");
}

#[test]
fn an_answer_by_the_proxy_itself_passes_and_no_decision_is_asked_for() {
    let mut stream = TestStream::new(settings());
    stream.head(&[], false);
    stream.answer_head(&[(":status", "408")], false);
    assert!(matches!(stream.chunk(b"late", true), Step::More));
    stream.answer(b"timeout", true);
    assert_eq!(stream.sent().len(), 2);
    assert_eq!(stream.finished().outcome, Outcome::Abandoned);
}

#[test]
fn an_answer_whose_body_is_not_shown_is_complete_with_its_headers() {
    let mut stream = TestStream::new(settings());
    let protocol_config = Some(ProtocolConfiguration::default());
    stream.on(ProcessingRequest { protocol_config, ..message(Request::RequestHeaders(headers(&[], true))) }).unwrap();
    stream.decide(&["10.0.0.1:8000"]);
    stream.answer_head(&[(":status", "200")], false);
    stream.sent();
    assert_eq!(stream.finished().outcome, Outcome::Completed);
}

/// Whether a message to Envoy changes nothing.
fn is_untouched(sent: &Response) -> bool {
    match sent {
        Response::ResponseHeaders(answer) => answer.response.as_ref().unwrap().header_mutation.is_none(),
        Response::ResponseBody(answer) => {
            answer.response.as_ref().unwrap().body_mutation.is_none() || !piece(sent).body.is_empty()
        }
        Response::ResponseTrailers(answer) => answer.header_mutation.is_none(),
        _ => false,
    }
}

#[test]
fn a_local_reply_on_a_stream_that_saw_no_request_goes_through_untouched_and_is_reported() {
    for (status, body_comes) in [("200", false), ("403", true), ("426", true), ("431", true), ("", true)] {
        let mut stream = TestStream::new(settings());
        let step = stream.answer_head(&[(":status", status), ("content-type", "application/json")], !body_comes);
        assert_eq!(matches!(step, Step::Over), !body_comes);
        if body_comes {
            assert!(matches!(stream.answer(br#"{"error":{},"usage":{"prompt_tokens":7}}"#, true), Step::Over));
        }
        let sent = stream.sent();
        assert_eq!(sent.len(), 1 + usize::from(body_comes));
        assert!(sent.iter().all(is_untouched), "{sent:?}");
        assert!(stream.exchange.trace_context().is_none() && stream.exchange.news().is_none());
        let end = stream.end();
        assert_eq!(end.event, Event::LocalReply { status: status.parse().ok() });
        assert_eq!(end.closing, Closing::Finish(Outcome::Abandoned, None));
    }
}

#[test]
fn a_local_reply_while_the_request_is_held_goes_through_untouched_whatever_of_it_comes_late() {
    let mut stream = TestStream::new(settings());
    stream.head(&[("x-llm-d-model-name-rewrite", "other")], false);
    stream.chunk(CHAT, false);
    stream.answer_head(&[(":status", "413"), ("content-type", "text/plain")], false);
    assert!(matches!(stream.chunk(b"late", false), Step::More));
    assert!(matches!(stream.on(message(Request::RequestTrailers(HttpTrailers::default()))), Ok(Step::More)));
    stream.answer(b"too large", false);
    assert!(matches!(stream.on(message(Request::ResponseTrailers(HttpTrailers::default()))), Ok(Step::Over)));
    let sent = stream.sent();
    assert_eq!(sent.len(), 3);
    assert!(sent.iter().all(is_untouched), "{sent:?}");
}

#[test]
fn a_response_whose_headers_are_not_shown_goes_through_all_the_same() {
    let mut fresh = TestStream::new(settings());
    assert!(matches!(fresh.answer(b"RBAC: access denied", true), Step::Over));
    assert!(is_untouched(&fresh.sent()[0]));
    assert_eq!(fresh.end().event, Event::LocalReply { status: None });

    let (mut sent_on, _) = TestStream::sent_on(settings(), &[], CHAT);
    sent_on.answer(b"{}", false);
    assert!(matches!(sent_on.on(message(Request::ResponseTrailers(HttpTrailers::default()))), Ok(Step::Over)));
    assert_eq!(sent_on.finished().outcome, Outcome::Completed);
}

#[test]
fn a_local_reply_in_a_body_mode_that_is_not_duplex_is_not_replaced_by_pieces() {
    let mut stream = TestStream::new(settings());
    let protocol_config =
        Some(ProtocolConfiguration { response_body_mode: BodySendMode::Buffered.into(), ..Default::default() });
    let head = message(Request::ResponseHeaders(headers(&[(":status", "403")], false)));
    stream.on(ProcessingRequest { protocol_config, ..head }).unwrap();
    stream.answer(b"denied", true);
    let sent = stream.sent();
    let Response::ResponseBody(answer) = &sent[1] else { panic!("{sent:?}") };
    assert!(answer.response.as_ref().unwrap().body_mutation.is_none());
}
