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
    assert_eq!(asked(talk.chunk(CHAT, true)).session.id, Some(SessionKey::of("b", 3)));
    talk.decide(&["10.0.0.1:8000"]);
    talk.answer_head(&[(":status", "200")], true);
    assert_eq!(header(&talk.said()[0], "x-session-token"), None);
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
    assert!((finished.promised_share - 0.5).abs() < 1e-9);
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
fn a_stream_cut_in_the_answer_is_abandoned() {
    let (mut talk, _) = Talk::sent_on(settings(), &[], CHAT);
    talk.answer_head(&[(":status", "200")], false);
    talk.answer(b"half", false);
    assert_eq!(talk.end().closing, Closing::Finish(Outcome::Abandoned, None));
    assert!(talk.exchange.farewell(true, Timestamp::ZERO).is_none(), "last words are said once");
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
    let farewell = cut.exchange.farewell(false, Timestamp::ZERO).unwrap();
    assert_eq!(farewell.closing, Closing::Finish(Outcome::Abandoned, None), "Envoy did not take everything");
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
