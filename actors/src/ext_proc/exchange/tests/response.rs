//! The answer, passed on and looked at.

use super::*;

#[test]
fn a_refusal_after_the_request_was_sent_on_ends_the_stream_and_says_nothing() {
    let (mut talk, _) = Talk::sent_on(settings(), &[], CHAT);
    talk.exchange.refuse(Refusal::new(RefusalCode::ShuttingDown, "stopping"), &mut talk.out);
    assert!(talk.said().is_empty() && talk.exchange.is_over());
    assert_eq!(talk.finished().outcome, Outcome::Abandoned);
}

#[test]
fn a_rewrite_changes_the_model_alone_and_the_client_hears_its_own_name_again() {
    let request = br#"{"n":12345678901234567890,"model":"mine","model2":"mine","prompt":"<&>"}"#;
    let (mut talk, said) = Talk::sent_on(settings(), &[("x-llm-d-model-name-rewrite", "engine's")], request);
    let expected = br#"{"n":12345678901234567890,"model":"engine's","model2":"mine","prompt":"<&>"}"#;
    assert_eq!(piece(&said[1]).body, expected);
    assert_eq!(header(&said[0], "content-length").unwrap(), expected.len().to_string());

    talk.answer_head(&[(":status", "200"), ("content-type", "application/json"), ("content-length", "30")], false);
    talk.answer(br#"{"id":"x","model":"engi"#, false);
    talk.answer(br#"ne's","text":"engine's"}"#, true);
    let said = talk.said();
    let Response::ResponseHeaders(answer) = &said[0] else { panic!("{said:?}") };
    let mutation = answer.response.as_ref().unwrap().header_mutation.as_ref().unwrap();
    assert_eq!(mutation.remove_headers, ["content-length"]);
    let text: Vec<u8> = said[1..].iter().flat_map(|one| piece(one).body.clone()).collect();
    assert_eq!(text, br#"{"id":"x","model":"mine","text":"engine's"}"#);
    assert!(piece(said.last().unwrap()).end_of_stream);
}

#[test]
fn an_answer_tells_its_session_which_endpoint_served_and_the_next_request_says_it_again() {
    let sessions = SessionRules { token_header: Some("x-session-token".into()), ..SessionRules::default() };
    let settings = Settings { sessions, ..settings() };
    let (mut talk, _) = Talk::sent_on(settings.clone(), &[], CHAT);
    talk.answer_head(&[(":status", "200")], true);
    let token = header(&talk.said()[0], "x-session-token").unwrap();

    let mut next = Talk::new(settings);
    next.head(&[("x-session-token", &token)], false);
    let request = asked(next.chunk(CHAT, true));
    let served = decision(&["10.0.0.1:8000"]).primary().unwrap().endpoint.clone();
    assert_eq!(request.session.token, Some(served));
    next.decide(&["10.0.0.1:8000", "10.0.0.2:8000"]);
    let mut head = message(Request::ResponseHeaders(headers(&[(":status", "200")], true)));
    head.metadata_context = metadata(names::LB_NAMESPACE, names::DESTINATION_SERVED, "10.0.0.2:8000");
    next.on(head).unwrap();
    assert_ne!(header(&next.said()[0], "x-session-token").unwrap(), token, "a fallback served");
}

#[test]
fn a_session_is_known_by_the_first_header_that_names_it_and_nobody_is_told_a_token() {
    let id_headers = vec!["x-session-id".to_owned(), "session-id".to_owned()];
    let settings =
        Settings { sessions: SessionRules { id_headers, ..SessionRules::default() }, tier_salt: 3, ..settings() };
    let mut talk = Talk::new(settings);
    talk.head(&[("Session-Id", "b"), ("x-session-id", "")], false);
    assert_eq!(asked(talk.chunk(CHAT, true)).session.id, Some(SessionKey::of("default-flow", "b", 3)));
    talk.decide(&["10.0.0.1:8000"]);
    talk.answer_head(&[(":status", "200")], true);
    assert_eq!(header(&talk.said()[0], "x-session-token"), None);
}

/// Whoever may ask which prompts were seen learns nothing of another tenant's.
#[test]
fn tenants_share_no_hashes_of_prompts_and_sessions() {
    let sessions = SessionRules { id_headers: vec!["x-session-id".to_owned()], ..SessionRules::default() };
    let settings = Settings { sessions, tenant_header: Some("x-tenant".to_owned()), ..settings() };
    let hashes = |tenant: Option<&str>, salt| {
        let mut talk = Talk::new(Settings { tier_salt: salt, ..settings.clone() });
        let named = tenant.map(|tenant| ("X-Tenant", tenant));
        talk.head(&named.into_iter().chain([("x-session-id", "s")]).collect::<Vec<_>>(), false);
        let request = asked(talk.chunk(CHAT, true));
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
        let mut talk = Talk::new(settings.clone());
        talk.head(&[("x-session-id", "s"), ("x-gateway-inference-fairness-id", tenant)], false);
        asked(talk.chunk(CHAT, true)).session.id.unwrap()
    };
    assert_eq!((of("a"), of("")), (SessionKey::of("a", "s", 0), SessionKey::of("default-flow", "s", 0)));
    assert_ne!(of("a"), of("b"));
}

#[test]
fn the_first_byte_of_an_error_is_no_first_token() {
    for status in ["400", "429", "500", "503"] {
        let (mut talk, _) = Talk::sent_on(settings(), &[], CHAT);
        talk.answer_head(&[(":status", status), ("content-type", "application/json")], false);
        talk.answer(b"{}", true);
        assert_eq!(talk.exchange.news(), None, "{status}");
    }
}

#[test]
fn an_answer_goes_on_chunk_by_chunk_and_its_usage_is_read_over_a_split() {
    let (mut talk, _) = Talk::sent_on(settings(), &[], CHAT);
    let mut head =
        message(Request::ResponseHeaders(headers(&[(":status", "200"), ("content-type", "text/event-stream")], false)));
    head.metadata_context = metadata(names::LB_NAMESPACE, names::DESTINATION_SERVED, "10.0.0.2:8000");
    talk.on(head).unwrap();
    let chunks: [&[u8]; 4] = [
        b": keep-alive\n\n",
        b"data: {\"choices\":[{\"text\":\"a\"}]}\n\n",
        b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"comple",
        b"tion_tokens\":3}}\n\ndata: [DONE]\n\n",
    ];
    for chunk in chunks {
        talk.answer(chunk, false);
    }
    assert!(matches!(talk.answer(b"", true), Step::Over));
    let said = talk.said();
    assert_eq!(header(&said[0], names::WENT_INTO_RESPONSE).unwrap(), "true");
    let bodies: Vec<&[u8]> = said[1..].iter().map(|one| piece(one).body.as_slice()).collect();
    assert_eq!(bodies[..4], chunks);
    assert_eq!(talk.exchange.news(), Some(News::Served("10.0.0.2:8000".parse().unwrap())));
    assert_eq!((talk.exchange.news(), talk.exchange.news()), (Some(News::FirstToken), None));
    let finished = talk.finished();
    assert_eq!(finished.usage, Some(Usage { prompt_tokens: 7, completion_tokens: 3, cached_tokens: None }));
    assert_eq!((finished.outcome, finished.status, finished.streaming), (Outcome::Completed, Some(200), true));
    assert_eq!(finished.first_token_after.unwrap().as_millis(), 5, "the comment is no token");
    assert!((finished.predicted_share - 0.5).abs() < 1e-9);
}

#[test]
fn a_large_answer_chunk_is_cut_and_trailers_end_the_answer() {
    let (mut talk, _) = Talk::sent_on(settings(), &[], CHAT);
    talk.answer_head(&[(":status", "200")], false);
    talk.answer(&[b'x'; 130_000], false);
    assert!(matches!(talk.on(message(Request::ResponseTrailers(HttpTrailers::default()))), Ok(Step::Over)));
    let said = talk.said();
    let sizes: Vec<usize> = said[1..4].iter().map(|one| piece(one).body.len()).collect();
    assert_eq!(sizes, [62_000, 62_000, 6_000]);
    assert!(said[1..4].iter().all(|one| !piece(one).end_of_stream));
    assert!(matches!(&said[4..], [Response::ResponseTrailers(_)]));
}

#[test]
fn an_error_status_and_an_error_event_are_the_engines_fault() {
    let (mut talk, _) = Talk::sent_on(settings(), &[], CHAT);
    talk.answer_head(&[(":status", "503")], true);
    assert_eq!(talk.finished().outcome, Outcome::EngineError);
    let (mut talk, _) = Talk::sent_on(settings(), &[], CHAT);
    talk.answer_head(&[(":status", "200"), ("content-type", "text/event-stream; charset=utf-8")], false);
    talk.answer(b"data: {\"error\": {\"message\": \"busy\", \"code\": 503}}\n\ndata: [DONE]\n\n", true);
    let finished = talk.finished();
    assert_eq!((finished.outcome, finished.first_token_after), (Outcome::EngineError, None));
}

#[test]
fn who_is_told_that_the_request_can_not_be_served_is_rejected_and_the_engine_is_well() {
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
        let (mut talk, _) = Talk::sent_on(settings(), &[], CHAT);
        talk.answer_head(&[(":status", status)], true);
        assert_eq!(talk.finished().outcome, outcome, "{status}");
    }
    let (mut talk, _) = Talk::sent_on(settings(), &[], CHAT);
    talk.answer_head(&[(":status", "503"), ("x-envoy-overloaded", "true")], true);
    assert_eq!(talk.finished().outcome, Outcome::Rejected, "a circuit breaker of the proxy is not the engine");
}

#[test]
fn the_body_of_an_error_is_no_token() {
    for status in ["400", "500"] {
        let (mut talk, _) = Talk::sent_on(settings(), &[], CHAT);
        talk.answer_head(&[(":status", status), ("content-type", "application/json")], false);
        talk.answer(b"{\"error\": {\"message\": \"no\"}}", true);
        assert_eq!(talk.exchange.news(), None, "nothing tells the books that the prompt was computed");
        assert_eq!(talk.finished().first_token_after, None);
    }
}

#[test]
fn a_stream_cut_in_the_answer_is_abandoned() {
    let (mut talk, _) = Talk::sent_on(settings(), &[], CHAT);
    talk.answer_head(&[(":status", "200")], false);
    talk.answer(b"half", false);
    assert_eq!(talk.end().closing, Closing::Finish(Outcome::Abandoned, None));
    assert!(talk.exchange.finish(true, Timestamp::ZERO).is_none(), "last words are said once");
}

#[test]
fn leaving_ends_the_stream_after_the_last_piece_and_keeps_the_ticket_open() {
    let leave = Settings { response_path: ResponsePath::Leave, ..settings() };
    let mut talk = Talk::new(leave.clone());
    talk.head(&[], false);
    assert!(!asked(talk.chunk(CHAT, true)).attended);
    talk.decide(&["10.0.0.1:8000"]);
    assert!(talk.exchange.is_over());
    assert_eq!(talk.end().closing, Closing::Leave);

    let (mut cut, _) = Talk::sent_on(leave, &[], CHAT);
    let finish = cut.exchange.finish(false, Timestamp::ZERO).unwrap();
    assert_eq!(finish.closing, Closing::Finish(Outcome::Abandoned, None), "Envoy did not take everything");
}

#[test]
fn an_answer_by_the_proxy_itself_is_let_through_and_nobody_is_asked() {
    let mut talk = Talk::new(settings());
    talk.head(&[], false);
    talk.answer_head(&[(":status", "408")], false);
    assert!(matches!(talk.chunk(b"late", true), Step::More));
    talk.answer(b"timeout", true);
    assert_eq!(talk.said().len(), 2);
    assert_eq!(talk.finished().outcome, Outcome::Abandoned);
}

#[test]
fn an_answer_whose_body_is_not_shown_is_complete_with_its_headers() {
    let mut talk = Talk::new(settings());
    let protocol_config = Some(ProtocolConfiguration::default());
    talk.on(ProcessingRequest { protocol_config, ..message(Request::RequestHeaders(headers(&[], true))) }).unwrap();
    talk.decide(&["10.0.0.1:8000"]);
    talk.answer_head(&[(":status", "200")], false);
    talk.said();
    assert_eq!(talk.finished().outcome, Outcome::Completed);
}

/// What was said, with nothing changed in it.
fn is_untouched(said: &Response) -> bool {
    match said {
        Response::ResponseHeaders(answer) => answer.response.as_ref().unwrap().header_mutation.is_none(),
        Response::ResponseBody(answer) => {
            answer.response.as_ref().unwrap().body_mutation.is_none() || !piece(said).body.is_empty()
        }
        Response::ResponseTrailers(answer) => answer.header_mutation.is_none(),
        _ => false,
    }
}

#[test]
fn a_local_reply_on_a_stream_that_saw_no_request_goes_through_untouched_and_is_told() {
    for (status, body_comes) in [("200", false), ("403", true), ("426", true), ("431", true), ("", true)] {
        let mut talk = Talk::new(settings());
        let step = talk.answer_head(&[(":status", status), ("content-type", "application/json")], !body_comes);
        assert_eq!(matches!(step, Step::Over), !body_comes);
        if body_comes {
            assert!(matches!(talk.answer(br#"{"error":{},"usage":{"prompt_tokens":7}}"#, true), Step::Over));
        }
        let said = talk.said();
        assert_eq!(said.len(), 1 + usize::from(body_comes));
        assert!(said.iter().all(is_untouched), "{said:?}");
        assert!(talk.exchange.trace_context().is_none() && talk.exchange.news().is_none());
        let finish = talk.end();
        assert_eq!(finish.event, Event::LocalReply { status: status.parse().ok() });
        assert_eq!(finish.closing, Closing::Finish(Outcome::Abandoned, None));
    }
}

#[test]
fn a_local_reply_while_the_request_is_held_goes_through_untouched_whatever_of_it_comes_late() {
    let mut talk = Talk::new(settings());
    talk.head(&[("x-llm-d-model-name-rewrite", "other")], false);
    talk.chunk(CHAT, false);
    talk.answer_head(&[(":status", "413"), ("content-type", "text/plain")], false);
    assert!(matches!(talk.chunk(b"late", false), Step::More));
    assert!(matches!(talk.on(message(Request::RequestTrailers(HttpTrailers::default()))), Ok(Step::More)));
    talk.answer(b"too large", false);
    assert!(matches!(talk.on(message(Request::ResponseTrailers(HttpTrailers::default()))), Ok(Step::Over)));
    let said = talk.said();
    assert_eq!(said.len(), 3);
    assert!(said.iter().all(is_untouched), "{said:?}");
}

#[test]
fn a_response_whose_headers_are_not_shown_goes_through_all_the_same() {
    let mut fresh = Talk::new(settings());
    assert!(matches!(fresh.answer(b"RBAC: access denied", true), Step::Over));
    assert!(is_untouched(&fresh.said()[0]));
    assert_eq!(fresh.end().event, Event::LocalReply { status: None });

    let (mut sent_on, _) = Talk::sent_on(settings(), &[], CHAT);
    sent_on.answer(b"{}", false);
    assert!(matches!(sent_on.on(message(Request::ResponseTrailers(HttpTrailers::default()))), Ok(Step::Over)));
    assert_eq!(sent_on.finished().outcome, Outcome::Completed);
}

#[test]
fn a_local_reply_in_a_body_mode_that_is_not_duplex_is_not_replaced_by_pieces() {
    let mut talk = Talk::new(settings());
    let protocol_config =
        Some(ProtocolConfiguration { response_body_mode: BodySendMode::Buffered.into(), ..Default::default() });
    let head = message(Request::ResponseHeaders(headers(&[(":status", "403")], false)));
    talk.on(ProcessingRequest { protocol_config, ..head }).unwrap();
    talk.answer(b"denied", true);
    let said = talk.said();
    let Response::ResponseBody(answer) = &said[1] else { panic!("{said:?}") };
    assert!(answer.response.as_ref().unwrap().body_mutation.is_none());
}
