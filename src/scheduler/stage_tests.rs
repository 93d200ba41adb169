//! Tests of requests whose prompt is computed on another endpoint.

use super::*;
use crate::fleet::endpoint::ROLE_LABEL;
use crate::scheduler::ledger::Balance;

const PAIRS: &str = include_str!("../../deploy/config/prefill-decode.yaml");

/// A replica with two endpoints that decode, 0 and 1, and two that prefill, 2 and 3.
fn replica(name: &str) -> Replica {
    replica_with(name, PAIRS)
}

fn replica_with(name: &str, config: &str) -> Replica {
    let profiles = crate::config::read(config, "pairs", &crate::config::Catalog::builtin()).unwrap().profiles;
    let mut replica = Replica::with(name, 1, Scheduler::new(profiles, settings()));
    for n in 0..4 {
        let role = if n < 2 { "decode" } else { "prefill" };
        let labels = [(ROLE_LABEL.to_owned(), role.to_owned())].into();
        let endpoint = Endpoint { id: id(n), address: address(n), labels };
        replica.handle(Input::Discovered(vec![EndpointChange::Upsert(endpoint)]), 0);
        replica.handle(report(n, 0), 1);
    }
    replica.news(1);
    replica
}

fn decision(out: &Outbox) -> Arc<Decision> {
    out.answers[0].1.clone().unwrap()
}

/// The endpoints of the decode leg and of the prefill leg.
fn pair(out: &Outbox) -> (EndpointId, Option<EndpointId>) {
    let decision = decision(out);
    let first = |leg: &Leg| leg.targets[0].endpoint.clone();
    (first(&decision.legs[0]), decision.leg(Stage::Prefill).map(first))
}

fn number(endpoint: &EndpointId) -> u16 {
    endpoint.name()[1..].parse().unwrap()
}

/// Requests, prompt tokens and answer tokens in flight on an endpoint, by all replicas.
fn load(replica: &Replica, endpoint: &EndpointId, millis: u64) -> (u32, u64, u64) {
    let summary = replica.endpoint(number(endpoint), millis);
    let sum = summary.in_flight.and(summary.foreign);
    (sum.requests, sum.prefill_tokens, sum.decode_tokens)
}

#[test]
fn a_long_prompt_gets_a_pair_and_each_endpoint_its_own_share() {
    let mut replica = replica("a");
    let out = replica.handle(ask(1, 7, 20), 2);
    let (decode, prefill) = pair(&out);
    let prefill = prefill.unwrap();
    assert!(number(&decode) < 2 && number(&prefill) >= 2);
    assert_eq!(decision(&out).destinations().collect::<Vec<_>>(), [address(number(&decode))], "the request goes there");
    let answer = settings().in_flight.estimated_output(&request_of(7, 20));
    assert_eq!(load(&replica, &decode, 3), (1, 0, answer));
    assert_eq!(load(&replica, &prefill, 3), (1, 20 * 64, 0));
    let verdict = &decision(&out).explanation.verdicts[0];
    assert!(verdict.separate && verdict.reason.contains("1280 of 1280 tokens"), "{}", verdict.reason);
    let split = out.events.iter().find_map(|event| match event {
        Event::Decided(decided) => decided.split.clone(),
        _ => None,
    });
    assert_eq!(split.unwrap().decision, "prefill-decode");

    replica.handle(Input::TicketUpdate(Ticket(1), News::FirstToken), 4);
    assert_eq!(load(&replica, &prefill, 5), (0, 0, 0), "its work is done");
    assert_eq!(load(&replica, &decode, 5), (1, 0, answer));
    replica.handle(Input::TicketUpdate(Ticket(1), News::Finished(Outcome::Completed)), 6);
    assert_eq!(load(&replica, &decode, 7), (0, 0, 0));
    assert_eq!(replica.scheduler.ledger.balance(), Balance { reserved: 1, closed: 1, expired: 0, open: 0 });
}

#[test]
fn a_short_prompt_and_a_cached_one_stay_on_the_decode_endpoint() {
    let mut replica = replica("a");
    assert_eq!(pair(&replica.handle(ask(1, 7, 4), 2)).1, None, "256 tokens");
    let (decode, prefill) = pair(&replica.handle(ask(2, 9, 20), 3));
    assert!(prefill.is_some());
    replica.handle(Input::TicketUpdate(Ticket(2), News::FirstToken), 4);
    let (again, prefill) = pair(&replica.handle(ask(3, 9, 20), 5));
    assert_eq!((again, prefill), (decode, None), "the decode endpoint holds the blocks that it was sent");
}

#[test]
fn every_replica_knows_both_shares_and_gives_the_same_pair() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    let (decode, prefill) = pair(&a.handle(ask(1, 7, 20), 2));
    let prefill = prefill.unwrap();
    b.handle(ask(2, 50, 4), 2);
    tell(&mut a, &mut b, 3);
    tell(&mut b, &mut a, 3);
    for endpoint in [&decode, &prefill] {
        assert_eq!(load(&b, endpoint, 4), load(&a, endpoint, 4));
    }
    // Until then a replica that hears of others' dispatches counts on more of them.
    let quiet = 3_000;
    for replica in [&mut a, &mut b] {
        (0..4).for_each(|n| drop(replica.handle(report(n, u32::from(n)), quiet)));
    }
    for prompt in 2..40 {
        let now = Timestamp::from_millis(quiet + 1);
        let request = request_of(prompt, 20);
        let pair = |replica: &mut Replica| replica.scheduler.decide(&request, now).unwrap().legs;
        let legs = pair(&mut a);
        assert_eq!(legs, pair(&mut b), "{prompt}");
        assert_eq!(legs.len(), if prompt == 7 { 1 } else { 2 });
    }
    b.handle(Input::TicketUpdate(Ticket(2), News::Finished(Outcome::Completed)), quiet + 2);
    b.handle(Input::PeerLost(crate::id::ReplicaId("a".into()), crate::id::Incarnation(1)), quiet + 3);
    for endpoint in [&decode, &prefill] {
        assert_eq!(load(&b, endpoint, quiet + 4), (0, 0, 0), "the replica that planned the pair is gone");
    }
}

#[test]
fn a_request_that_ends_before_its_first_token_frees_both_and_places_nothing() {
    let mut replica = replica("a");
    let (decode, prefill) = pair(&replica.handle(ask(1, 7, 20), 2));
    replica.handle(Input::TicketUpdate(Ticket(1), News::Finished(Outcome::EngineError)), 3);
    for endpoint in [decode, prefill.unwrap()] {
        assert_eq!(load(&replica, &endpoint, 4), (0, 0, 0));
        assert_eq!(replica.endpoint(number(&endpoint), 4).index_blocks, 0);
    }
}

#[test]
fn a_detached_pair_waits_for_its_prefill_engine_and_then_for_the_one_that_decodes() {
    let mut replica = replica("a");
    let request = InferenceRequest { sees_response: false, ..request_of(7, 20) };
    let (decode, prefill) = pair(&replica.handle(Input::Asked(Asked::new(Ticket(1), request)), 2));
    let prefill = prefill.unwrap();
    let open = |replica: &Replica, millis| [&decode, &prefill].map(|endpoint| load(replica, endpoint, millis).0);
    let incoming = |replica: &Replica| replica.endpoint(number(&decode), 4_000).in_flight.incoming_tokens;
    assert_eq!(incoming(&replica), 20 * 64);
    let mut reports = |endpoint: &EndpointId, unfinished, millis| {
        replica.handle(report(number(endpoint), unfinished), millis);
        open(&replica, millis)
    };
    assert_eq!(reports(&decode, 0, 1_000), [1, 1], "it is not there yet: its prompt is computed elsewhere");
    assert_eq!(reports(&prefill, 1, 1_500), [1, 1]);
    assert_eq!(reports(&prefill, 0, 2_000), [1, 0], "the prompt is computed");
    assert_eq!(reports(&decode, 0, 2_100), [1, 0], "it may have arrived since");
    assert_eq!(reports(&decode, 1, 3_000), [1, 0]);
    assert_eq!(reports(&decode, 0, 4_000), [0, 0]);
    assert_eq!(incoming(&replica), 0);
    assert_eq!(replica.scheduler.ledger.balance(), Balance { reserved: 1, closed: 1, expired: 0, open: 0 });
}

#[test]
fn a_detached_pair_does_not_wait_for_a_prefill_engine_that_reports_nothing() {
    let mut replica = replica("a");
    let request = InferenceRequest { sees_response: false, ..request_of(7, 20) };
    let (decode, prefill) = pair(&replica.handle(Input::Asked(Asked::new(Ticket(1), request)), 2));
    let prefill = prefill.unwrap();
    replica.handle(Input::Tick, 1_000);
    assert_eq!(load(&replica, &prefill, 1_000).0, 1, "its last report is young enough");
    replica.handle(report(number(&decode), 0), 11_000);
    replica.handle(Input::Tick, 11_000);
    assert_eq!((load(&replica, &prefill, 11_000).0, load(&replica, &decode, 11_000).0), (0, 1));
    replica.handle(report(number(&decode), 0), 12_000);
    assert_eq!(replica.scheduler.ledger.balance(), Balance { reserved: 1, closed: 1, expired: 0, open: 0 });
}

#[test]
fn a_detached_pair_ends_with_its_last_endpoint() {
    for first in [Stage::Prefill, Stage::Decode] {
        let mut replica = replica("a");
        let request = InferenceRequest { sees_response: false, ..request_of(7, 20) };
        let (decode, prefill) = pair(&replica.handle(Input::Asked(Asked::new(Ticket(1), request)), 2));
        let mut gone = [decode, prefill.unwrap()];
        if first == Stage::Prefill {
            gone.reverse();
        }
        let mut remove = |id: &EndpointId, millis| {
            replica.handle(Input::Discovered(vec![EndpointChange::Remove(id.clone())]), millis);
            replica.scheduler.ledger.balance().open
        };
        assert_eq!(remove(&gone[0], 10), 1, "{first:?}");
        assert_eq!(remove(&gone[1], 20), 0, "{first:?}");
    }
}

#[test]
fn without_an_endpoint_for_the_prefill_stage_the_request_is_refused_by_the_filter_s_name() {
    let mut replica = replica("a");
    let gone = [2, 3].map(|n| EndpointChange::Remove(id(n)));
    replica.handle(Input::Discovered(gone.into()), 2);
    let out = replica.handle(ask(1, 7, 20), 3);
    let refusal = out.answers[0].1.clone().unwrap_err();
    assert_eq!(refusal.sentence, "the filter prefill-filter left none of 2 endpoints");
    assert!(pair(&replica.handle(ask(2, 7, 4), 4)).1.is_none(), "a short prompt needs none");
}

#[test]
fn an_endpoint_that_would_prefill_for_itself_is_no_pair() {
    let mut replica = replica("a");
    replica.handle(Input::Discovered([1, 2, 3].map(|n| EndpointChange::Remove(id(n))).into()), 2);
    let labels = [(ROLE_LABEL.to_owned(), "both".to_owned())].into();
    let both = Endpoint { id: id(0), address: address(0), labels };
    replica.handle(Input::Discovered(vec![EndpointChange::Upsert(both)]), 3);
    let out = replica.handle(ask(1, 7, 20), 4);
    assert_eq!(pair(&out), (id(0), None));
    let answer = settings().in_flight.estimated_output(&request_of(7, 20));
    assert_eq!(load(&replica, &id(0), 5), (1, 20 * 64, answer), "one request with all of its work");
}

fn request_of(prompt: u64, blocks: u64) -> InferenceRequest {
    match ask(0, prompt, blocks) {
        Input::Asked(asked) => *asked.request,
        _ => unreachable!(),
    }
}

const PRICED: &str = include_str!("../../deploy/config/pair.yaml");

/// The same pool, with pairs by price.
fn priced(name: &str) -> Replica {
    replica_with(name, PRICED)
}

/// Opens a prompt of 20 blocks for each of `prompts`, and lets all of them get their first token.
fn answering(replica: &mut Replica, prompts: std::ops::Range<u64>, millis: u64) {
    for prompt in prompts {
        replica.handle(ask(prompt, 1_000 + prompt, 20), millis);
        replica.handle(Input::TicketUpdate(Ticket(prompt), News::FirstToken), millis + 1);
    }
}

#[test]
fn a_pool_that_answers_gets_pairs_and_an_idle_one_none_and_both_say_why() {
    let mut replica = priced("a");
    let out = replica.handle(ask(1, 7, 20), 2);
    assert_eq!(pair(&out).1, None, "nobody is held up");
    let verdict = &decision(&out).explanation.verdicts[0];
    assert!(!verdict.separate && verdict.reason.contains(" alone costs "), "{}", verdict.reason);
    answering(&mut replica, 2..40, 3);
    let out = replica.handle(ask(50, 9, 40), 5);
    let (decode, prefill) = pair(&out);
    let prefill = prefill.expect("the answers on both would wait for the prompt");
    assert!(number(&decode) < 2 && number(&prefill) >= 2);
    let legs = &decision(&out).legs;
    assert_eq!(legs[1].targets.len(), 2, "the other one may stand in");
    assert_eq!((legs[0].cost.prefill_tokens, legs[1].cost.prefill_tokens), (0, 40 * 64));
    let explained = decision(&out).explanation.pair.clone().unwrap();
    assert_eq!((explained.rows[0].decode.clone(), explained.rows[0].prefill.clone()), (decode, Some(prefill)));
    assert!(explained.rows.iter().any(|row| row.prefill.is_none()), "what it was compared with");
}

#[test]
fn replicas_with_equal_views_give_equal_priced_pairs() {
    let (mut a, mut b) = (priced("a"), priced("b"));
    answering(&mut a, 1..30, 2);
    answering(&mut b, 101..130, 2);
    for _ in 0..2 {
        tell(&mut a, &mut b, 5);
        tell(&mut b, &mut a, 5);
    }
    // Until then a replica that hears of others' dispatches counts on more of them.
    let quiet = 3_000;
    for replica in [&mut a, &mut b] {
        (0..4).for_each(|n| drop(replica.handle(report(n, u32::from(n)), quiet)));
    }
    let mut kinds = std::collections::BTreeSet::new();
    for (prompt, blocks) in (1_000..1_130).flat_map(|prompt| [(prompt, 20), (prompt, 60), (prompt + 5_000, 2)]) {
        let now = Timestamp::from_millis(quiet + 1);
        let request = request_of(prompt, blocks);
        let decide = |replica: &mut Replica| replica.scheduler.decide(&request, now).unwrap();
        let (one, other) = (decide(&mut a), decide(&mut b));
        assert_eq!(one.legs, other.legs, "{prompt}");
        assert_eq!(one.explanation.pair, other.explanation.pair, "{prompt}");
        kinds.insert(one.split());
    }
    assert_eq!(kinds.len(), 2, "pairs and endpoints alone: {kinds:?}");
}

#[test]
fn a_priced_pool_without_prefill_endpoints_decodes_alone_and_without_decode_endpoints_refuses() {
    let mut replica = priced("a");
    answering(&mut replica, 1..30, 2);
    replica.handle(Input::Discovered([2, 3].map(|n| EndpointChange::Remove(id(n))).into()), 4);
    assert_eq!(pair(&replica.handle(ask(50, 9, 40), 5)).1, None);
    replica.handle(Input::Discovered([0, 1].map(|n| EndpointChange::Remove(id(n))).into()), 6);
    let labels = [(ROLE_LABEL.to_owned(), "prefill".to_owned())].into();
    let prefill = Endpoint { id: id(2), address: address(2), labels };
    replica.handle(Input::Discovered(vec![EndpointChange::Upsert(prefill)]), 7);
    let refusal = replica.handle(ask(51, 9, 40), 8).answers[0].1.clone().unwrap_err();
    assert_eq!(refusal.sentence, "the filter decode-filter left none of 1 endpoints");
}
