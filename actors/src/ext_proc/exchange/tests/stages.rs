//! Headers that steer a sidecar: set where the decision says so, and never a client's own.

use super::*;

/// Every header by which a client could aim at an endpoint, a prefill or encode endpoint, a rank or a cache.
const SPOOFED: [(&str, &str); 6] = [
    ("x-prefiller-host-port", "6.6.6.6:6"),
    ("X-Prefiller-Url", "http://6.6.6.6:6"),
    ("x-encoder-hosts-ports", "6.6.6.6:6,6.6.6.7:6"),
    ("x-data-parallel-host-port", "6.6.6.6:6"),
    ("x-kv-cache-source-host-port", "6.6.6.6:6"),
    ("x-gateway-destination-endpoint", "6.6.6.6:6"),
];

fn target(address: &str) -> Target {
    let endpoint = EndpointId::new("default", address);
    let matched = PrefixMatch { blocks: 0, of: 2 };
    Target { endpoint, address: address.parse().unwrap(), matched, score: 1.0 }
}

/// A decision with these legs.
fn split(legs: &[(Stage, &[&str])], primary_port: Option<u16>) -> Decision {
    let leg = |(stage, addresses): &(Stage, &[&str])| Leg::new(*stage, addresses.iter().map(|a| target(a)).collect());
    let legs = legs.iter().map(leg).collect();
    Decision { primary_port, ..Decision::new(legs, Explanation::default()) }
}

/// The answer to a request with the spoofed headers and `more` that gets this decision.
fn answer(settings: Settings, more: &[(&str, &str)], decision: &Decision) -> (TestStream, Vec<Response>) {
    let mut stream = TestStream::new(settings);
    stream.head(&[&SPOOFED, more].concat(), false);
    stream.chunk(CHAT, true);
    stream.exchange.decided(decision, Vec::new(), Timestamp::from_millis(9), &mut stream.out);
    let sent = stream.sent();
    (stream, sent)
}

/// Every value that leaves, and the names that are removed.
fn mutation(sent: &[Response]) -> (Vec<(String, String)>, Vec<String>) {
    let Response::RequestHeaders(headers) = &sent[0] else { panic!("no headers") };
    let mutation = headers.response.as_ref().unwrap().header_mutation.as_ref().unwrap();
    let set = mutation.set_headers.iter().map(|one| one.header.as_ref().unwrap());
    let set = set.map(|one| (one.key.clone(), String::from_utf8(one.raw_value.clone()).unwrap())).collect();
    (set, mutation.remove_headers.iter().map(|name| name.to_lowercase()).collect())
}

/// Each name that a client spoofed is overwritten or removed, and no spoofed value leaves.
fn nothing_survives(sent: &[Response]) {
    let (set, removed) = mutation(sent);
    for (name, _) in SPOOFED {
        let name = name.to_lowercase();
        assert!(set.iter().any(|(own, _)| *own == name) != removed.contains(&name), "{name}: {set:?}, {removed:?}");
    }
    assert!(set.iter().all(|(_, value)| !value.contains("6.6.6.")), "{set:?}");
}

#[test]
fn a_client_s_own_stage_headers_never_survive() {
    let decode: (Stage, &[&str]) = (Stage::Decode, &["10.0.0.1:80"]);
    let prefill: (Stage, &[&str]) = (Stage::Prefill, &["10.0.0.2:80", "[::1]:80"]);
    let encode: (Stage, &[&str]) = (Stage::Encode, &["10.0.0.4:80", "10.0.0.5:80"]);
    for (legs, port) in [
        (vec![decode], None),
        (vec![decode, prefill], None),
        (vec![decode, encode], None),
        (vec![decode, encode, prefill], None),
        (vec![decode], Some(8000)),
    ] {
        let (_, sent) = answer(settings(), &[], &split(&legs, port));
        nothing_survives(&sent);
        let value = |name| header(&sent[0], name);
        let has = |stage| legs.iter().any(|leg| leg.0 == stage);
        let prefiller = has(Stage::Prefill).then(|| "10.0.0.2:80,[::1]:80".to_owned());
        assert_eq!(value(names::PREFILLER[0]), prefiller, "in order");
        assert_eq!(value(names::ENCODERS), has(Stage::Encode).then(|| "10.0.0.4:80,10.0.0.5:80".to_owned()));
        assert_eq!(value(names::DATA_PARALLEL), port.map(|_| "10.0.0.1:80".to_owned()));
    }
}

#[test]
fn a_request_for_a_rank_goes_to_the_primary_port_and_counts_for_the_rank() {
    let ranks: (Stage, &[&str]) = (Stage::Decode, &["10.0.0.1:8002", "[::1]:8001"]);
    let (mut stream, sent) = answer(settings(), &[], &split(&[ranks], Some(8000)));
    assert_eq!(header(&sent[0], names::DESTINATION).unwrap(), "10.0.0.1:8000", "the header names a rank of one host");
    assert_eq!(header(&sent[0], names::DATA_PARALLEL).unwrap(), "10.0.0.1:8002");
    for (reported, served) in
        [("10.0.0.1:8000", "10.0.0.1:8002"), ("[::1]:8000", "[::1]:8000"), ("9.9.9.9:1", "9.9.9.9:1")]
    {
        let mut piece = message(Request::ResponseBody(HttpBody::default()));
        piece.metadata_context = metadata(names::LB_NAMESPACE, names::DESTINATION_SERVED, reported);
        stream.on(piece).unwrap();
        assert_eq!(stream.exchange.news(), Some(News::Served(served.parse().unwrap())), "{reported}");
    }
}

#[test]
fn the_header_that_names_a_profile_is_read_and_removed_where_a_handler_reads_it() {
    let read = Settings { profile_header: Some("epp-profile".to_owned()), ..settings() };
    let decision = split(&[(Stage::Decode, &["10.0.0.1:80"])], None);
    for (settings, is_read) in [(read, true), (settings(), false)] {
        let mut stream = TestStream::new(settings.clone());
        stream.head(&[("EPP-Profile", "prefill"), ("Prefer", "if-available")], false);
        let request = asked(stream.chunk(CHAT, true));
        assert_eq!((request.profile.is_some(), request.if_available), (is_read, true));
        let (_, sent) = answer(settings, &[("EPP-Profile", "prefill")], &decision);
        assert_eq!(mutation(&sent).1.contains(&"epp-profile".to_owned()), is_read);
    }
}
