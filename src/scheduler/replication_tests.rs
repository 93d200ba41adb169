//! Tests of several schedulers that exchange facts.

use super::*;
use crate::id::{Incarnation, ReplicaId, SessionKey};
use crate::replication::{Batch, FactLog};

/// A scheduler and its publisher.
struct Replica {
    scheduler: Scheduler,
    publisher: FactLog,
    sent: u64,
}

/// A scheduler with the default configuration's plugins.
fn real() -> Scheduler {
    of_config(crate::config::default_text())
}

impl Replica {
    fn new(name: &str, incarnation: u64) -> Self {
        Self::with(name, incarnation, scheduler())
    }

    fn with(name: &str, incarnation: u64, scheduler: Scheduler) -> Self {
        let publisher = FactLog::new(ReplicaId(name.into()), Incarnation(incarnation));
        let mut replica = Self { scheduler, publisher, sent: 0 };
        (0..4).for_each(|n| drop(replica.handle(upsert(n), 0)));
        replica
    }

    fn handle(&mut self, input: Input, millis: u64) -> Outbox {
        let (now, mut out) = (Timestamp::from_millis(millis), Outbox::default());
        self.scheduler.handle(input, now, &mut out);
        out.publish.drain(..).for_each(|(record, at)| self.publisher.publish(record, at));
        out
    }

    /// All facts published since the last call.
    fn news(&mut self, millis: u64) -> Option<Batch> {
        let batch = self.publisher.since(self.sent, usize::MAX, Timestamp::from_millis(millis))?;
        self.sent = batch.upto;
        Some(batch)
    }

    fn endpoint(&self, n: u16, millis: u64) -> EndpointSummary {
        let id = id(n);
        let summary = self.scheduler.summary(Timestamp::from_millis(millis));
        summary.endpoints.into_iter().find(|endpoint| endpoint.endpoint.id == id).unwrap()
    }
}

fn tell(from: &mut Replica, to: &mut Replica, millis: u64) {
    if let Some(batch) = from.news(millis) {
        to.handle(Input::Batch(Box::new(batch)), millis);
    }
}

fn picked(out: &Outbox) -> EndpointId {
    out.answers[0].1.as_ref().unwrap().primary().unwrap().endpoint.clone()
}

#[test]
fn a_joiner_ignores_readings_from_before_its_own_start() {
    for (joiner_millis, known) in [(5_000, true), (4_999, false)] {
        let (mut old, mut new) = (Replica::new("a", 1), Replica::new("b", 1));
        old.handle(report(0, 7), 1_000);
        let batch = old.news(6_000).unwrap();
        new.handle(Input::Batch(Box::new(batch)), joiner_millis);
        let age = new.endpoint(0, joiner_millis).age;
        assert_eq!(age, known.then_some(Duration::from_secs(5)));
    }
}

#[test]
fn dispatches_and_placements_of_one_replica_count_on_the_other() {
    let (mut a, mut b) = (Replica::new("a", 1), Replica::new("b", 1));
    (0..4).for_each(|n| drop(a.handle(report(n, 0), 1)));
    let first = picked(&a.handle(ask(1, 7, 40), 10));
    tell(&mut a, &mut b, 12);
    let n = (0..4).find(|&n| id(n) == first).unwrap();
    let (own, received) = (a.endpoint(n, 12), b.endpoint(n, 12));
    assert_eq!((received.foreign, received.unseen), (own.in_flight, own.unseen));
    assert_eq!((received.report, received.age, received.index_blocks), (own.report, own.age, own.index_blocks));
    assert_eq!(picked(&b.handle(ask(1, 7, 40), 13)), first, "an equal prompt on another replica finds its blocks");
}

/// The same request with a session.
fn ask_of(session: u64, ticket: u64, seed: u64) -> Input {
    let Input::Asked(mut asked) = ask(ticket, seed, 40) else { unreachable!() };
    asked.request.session.id = Some(SessionKey(session));
    Input::Asked(asked)
}

/// Follows session bindings, and otherwise picks the shortest queue.
fn faithful() -> Scheduler {
    let text = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: queue-scorer\n\
                - type: session-affinity-filter\n  parameters: {strategy: session_id}\n";
    let profiles = crate::config::read(text, "faithful", &crate::config::Catalog::builtin()).unwrap().profiles;
    Scheduler::new(profiles, settings())
}

#[test]
fn all_follow_a_session_that_one_replica_bound_also_those_that_join_after_it_is_lost() {
    let (mut a, mut b) = (Replica::with("a", 1, faithful()), Replica::with("b", 1, faithful()));
    (0..4).for_each(|n| drop(a.handle(report(n, 0), 1)));
    let first = picked(&a.handle(ask_of(9, 1, 7), 10));
    a.handle(Input::TicketUpdate(Ticket(1), News::FirstToken), 10);
    tell(&mut a, &mut b, 11);
    // Although its endpoint is fuller now, and for any prompt.
    (0..4).for_each(|n| drop(b.handle(report(n, if id(n) == first { 4 } else { 0 }), 20)));
    assert_ne!(picked(&b.handle(ask(2, 8, 40), 21)), first);
    assert_eq!(picked(&b.handle(ask_of(9, 3, 8), 22)), first);

    b.handle(Input::PeerLost(ReplicaId("a".into()), Incarnation(1)), 30);
    let mut joiner = Replica::with("c", 1, faithful());
    let history = b.publisher.history(b.scheduler.history(100, Timestamp::from_millis(40)));
    joiner.handle(Input::Batch(Box::new(history)), 2);
    (0..4).for_each(|n| drop(joiner.handle(report(n, if id(n) == first { 4 } else { 0 }), 3)));
    assert_eq!(picked(&joiner.handle(ask_of(9, 4, 9), 4)), first);
}

#[test]
fn a_session_whose_endpoint_is_gone_is_bound_again_and_moves_with_a_fallback() {
    let mut a = Replica::with("a", 1, faithful());
    (0..4).for_each(|n| drop(a.handle(report(n, 0), 1)));
    let first = picked(&a.handle(ask_of(9, 1, 7), 10));
    a.handle(Input::TicketUpdate(Ticket(1), News::FirstToken), 11);
    a.handle(Input::Discovered(vec![EndpointChange::Remove(first.clone())]), 20);
    let second = picked(&a.handle(ask_of(9, 2, 8), 21));
    a.handle(Input::TicketUpdate(Ticket(2), News::FirstToken), 21);
    assert_ne!(second, first);
    assert_eq!(picked(&a.handle(ask_of(9, 3, 9), 22)), second);
    a.handle(Input::TicketUpdate(Ticket(3), News::FirstToken), 22);
    let third = (0..4).find(|&n| id(n) != first && id(n) != second).unwrap();
    a.handle(Input::TicketUpdate(Ticket(3), News::Served(address(third))), 23);
    assert_eq!(picked(&a.handle(ask_of(9, 4, 9), 24)), id(third));
}

#[test]
fn a_session_is_bound_with_its_first_token_and_a_request_that_fails_binds_nothing() {
    let mut a = Replica::with("a", 1, faithful());
    (0..4).for_each(|n| drop(a.handle(report(n, 0), 1)));
    let bound = |a: &Replica, now: u64| a.scheduler.summary(Timestamp::from_millis(now)).sessions;
    for (ticket, outcome) in [(1, Outcome::Abandoned), (2, Outcome::EngineError)] {
        a.handle(ask_of(ticket, ticket, 7), 10);
        a.handle(Input::TicketUpdate(Ticket(ticket), News::Finished(outcome)), 11);
        assert_eq!(bound(&a, 11), 0, "{outcome:?}");
    }
    // A fallback that served before its first token is the one that is bound.
    let first = picked(&a.handle(ask_of(9, 3, 7), 20));
    let served = (0..4).find(|&n| id(n) != first).unwrap();
    a.handle(Input::TicketUpdate(Ticket(3), News::Served(address(served))), 21);
    assert_eq!(bound(&a, 21), 0);
    a.handle(Input::TicketUpdate(Ticket(3), News::FirstToken), 22);
    a.handle(Input::TicketUpdate(Ticket(3), News::Finished(Outcome::Completed)), 23);
    assert_eq!((bound(&a, 23), picked(&a.handle(ask_of(9, 4, 8), 24))), (1, id(served)));
    // A detached request is bound at once.
    let Input::Asked(mut leaving) = ask_of(10, 5, 9) else { unreachable!() };
    leaving.request.sees_response = false;
    a.handle(Input::Asked(leaving), 30);
    assert_eq!(bound(&a, 30), 2);
}

#[test]
fn the_open_work_of_a_lost_peer_is_dropped_and_its_placements_stay() {
    let (mut a, mut b) = (Replica::new("a", 1), Replica::new("b", 1));
    let first = picked(&a.handle(ask(1, 7, 40), 10));
    tell(&mut a, &mut b, 11);
    b.handle(Input::PeerLost(ReplicaId("a".into()), Incarnation(1)), 12);
    let n = (0..4).find(|&n| id(n) == first).unwrap();
    assert_eq!(b.endpoint(n, 12).foreign, InFlight::default());
    assert_eq!(b.endpoint(n, 12).index_blocks, 40);
}

#[test]
fn facts_about_an_endpoint_that_is_not_discovered_yet_count_once_it_is() {
    let (mut a, mut b) = (Replica::new("a", 1), Replica::new("b", 1));
    let first = picked(&a.handle(ask(1, 7, 40), 10));
    let n = (0..4).find(|&n| id(n) == first).unwrap();
    b.handle(Input::Discovered(vec![EndpointChange::Remove(id(n))]), 10);
    tell(&mut a, &mut b, 11);
    b.handle(upsert(n), 12);
    assert_eq!(b.endpoint(n, 12).foreign.requests, 1);
}

#[test]
fn a_keeper_believes_kv_use_in_the_steps_that_it_publishes() {
    let (mut a, mut b) = (Replica::new("a", 1), Replica::new("b", 1));
    for (millis, kv_usage) in [(10, 0.5), (60, 0.5004), (110, 0.5005)] {
        let report = LoadReport { kv_usage, awake: true, ..LoadReport::default() };
        a.handle(Input::Observed(id(1), Observation { report, age: Duration::ZERO }), millis);
        tell(&mut a, &mut b, millis + 1);
    }
    let of = |replica: &Replica| replica.endpoint(1, 120).report.map(|report| report.kv_usage);
    assert_eq!((of(&a), of(&b)), (Some(0.5), Some(0.5)));
}

#[test]
fn an_endpoint_is_unreachable_from_when_its_keeper_says_so_until_its_next_report() {
    let (mut a, mut b) = (Replica::new("a", 1), Replica::new("b", 1));
    (0..4).for_each(|n| drop(a.handle(report(n, 0), 1)));
    (0..2).for_each(|i| drop(a.handle(Input::Unreachable(id(2)), 60 + i)));
    tell(&mut a, &mut b, 70);
    assert!(!b.endpoint(2, 70).reachable && b.endpoint(1, 70).reachable);
    a.handle(report(2, 0), 90);
    tell(&mut a, &mut b, 91);
    assert!(b.endpoint(2, 91).reachable);
}

#[test]
fn a_joiner_learns_placements_of_lost_peers_from_history() {
    let (mut lost, mut survivor, mut joiner) = (Replica::new("a", 1), Replica::new("b", 1), Replica::new("c", 1));
    let first = picked(&lost.handle(ask(1, 7, 40), 10));
    tell(&mut lost, &mut survivor, 11);
    survivor.handle(Input::PeerLost(ReplicaId("a".into()), Incarnation(1)), 12);
    let history = survivor.publisher.history(survivor.scheduler.history(100, Timestamp::ZERO));
    joiner.handle(Input::Batch(Box::new(history)), 20);
    let n = (0..4).find(|&n| id(n) == first).unwrap();
    assert_eq!((joiner.endpoint(n, 20).index_blocks, joiner.endpoint(n, 20).unseen), (40, 0));
    assert_eq!(picked(&joiner.handle(ask(1, 7, 40), 21)), first);
}

#[test]
fn isolated_replicas_still_send_a_conversation_to_one_endpoint() {
    let (mut a, mut b) = (Replica::with("a", 1, real()), Replica::with("b", 1, real()));
    for (n, waiting) in [(0, 1), (1, 0), (2, 1), (3, 0)] {
        a.handle(report(n, waiting), 1);
        b.handle(report(n, 1 - waiting), 1);
    }
    for prompt in 0..40 {
        // The second turn comes to the other replica, which sees other loads.
        let turns =
            [a.handle(ask(prompt, prompt, 20), 10), b.handle(ask(prompt, prompt, 30), 10)].map(|out| picked(&out));
        assert_eq!(turns[0], turns[1]);
        a.handle(Input::TicketUpdate(Ticket(prompt), News::Finished(Outcome::Completed)), 11);
        b.handle(Input::TicketUpdate(Ticket(prompt), News::Finished(Outcome::Completed)), 11);
    }
}

/// A replica that just started receives all that peers dispatched one by one in the last second. Ages from a stream
/// predate its start; ages on gossip pages are those of the writing.
#[test]
fn dispatches_from_before_a_peer_was_met_are_no_burst() {
    for by_gossip in [false, true] {
        let (mut old, mut new) = (Replica::with("a", 1, real()), Replica::with("b", 1, real()));
        old.handle(report(0, 0), 9_000);
        for n in 0..20 {
            old.handle(ask(n, n, 20), 9_050 + 45 * n);
        }
        let mut batch = old.news(10_000).unwrap();
        if by_gossip {
            batch.after = Batch::FRAGMENT;
            batch.facts.iter_mut().for_each(|fact| fact.age = Duration::from_millis(5));
        }
        // The joiner's clock just started. Ages travel, so the two clocks need not agree.
        new.handle(Input::Batch(Box::new(batch)), 20);
        let uncertainty = new.handle(ask(20, 3, 20), 21).answers[0].1.as_ref().unwrap().explanation.uncertainty;
        assert_eq!(uncertainty, Uncertainty::None, "by gossip: {by_gossip}");
    }
}

#[test]
fn gossiped_readings_from_before_a_peer_was_met_are_ignored() {
    let (mut old, mut new) = (Replica::new("a", 1), Replica::new("b", 1));
    let mut receive = |at: u64, after: Option<u64>| {
        old.handle(report(0, 3), at - 5);
        let batch = old.news(at).unwrap();
        let after = after.unwrap_or(batch.after);
        new.handle(Input::Batch(Box::new(Batch { after, ..batch })), at);
        new.endpoint(0, at).age
    };
    assert_eq!(receive(9_000, Some(Batch::FRAGMENT)), None, "the age of the page is unknown");
    assert_eq!(receive(9_101, Some(Batch::FRAGMENT)), Some(Duration::from_millis(5)), "the page is newer");
    let (mut old, mut new) = (Replica::new("a", 1), Replica::new("b", 1));
    old.handle(report(0, 3), 8_995);
    tell(&mut old, &mut new, 9_000);
    assert_eq!(new.endpoint(0, 9_000).age, Some(Duration::from_millis(5)), "ages from a stream are reliable");
}

#[test]
fn a_view_is_uncertain_while_isolated_and_in_a_burst() {
    let (mut a, mut b) = (Replica::with("a", 1, real()), Replica::with("b", 1, real()));
    let uncertainty = |out: &Outbox| out.answers[0].1.as_ref().unwrap().explanation.uncertainty;
    assert_eq!(uncertainty(&a.handle(ask(1, 1, 20), 100)), Uncertainty::Isolated);
    b.handle(report(0, 0), 150);
    tell(&mut b, &mut a, 200);
    assert_eq!(uncertainty(&a.handle(ask(2, 2, 20), 200)), Uncertainty::None);
    for n in 3..12 {
        b.handle(ask(n, n, 20), 300);
    }
    tell(&mut b, &mut a, 301);
    assert!(matches!(uncertainty(&a.handle(ask(20, 3, 20), 302)), Uncertainty::Concurrent(_)));
    assert_eq!(uncertainty(&a.handle(ask(21, 3, 20), 20_000)), Uncertainty::None, "a burst of long ago");
    a.handle(Input::PeerLost(ReplicaId("b".into()), Incarnation(1)), 20_001);
    assert_eq!(uncertainty(&a.handle(ask(22, 3, 20), 20_002)), Uncertainty::Isolated);
}

#[test]
fn the_last_replica_is_certain_once_engines_report_no_foreign_requests() {
    let mut last = Replica::with("a", 1, real());
    let mut uncertainties = Vec::new();
    for n in 0..200 {
        (0..4).for_each(|endpoint| drop(last.handle(report(endpoint, 1), n)));
        let out = last.handle(ask(n, n, 20), n);
        uncertainties.push(out.answers[0].1.as_ref().unwrap().explanation.uncertainty);
    }
    assert_eq!((uncertainties[0], uncertainties[199]), (Uncertainty::Isolated, Uncertainty::None));
}

proptest! {
    /// The same with the default plugins, in bursts too.
    #[test]
    fn equal_views_in_a_burst_answer_alike(
        steps in proptest::collection::vec((0u8..5, 0u16..4, 0u64..6, 1u64..60), 1..60),
    ) {
        let mut tier = [Replica::with("a", 1, real()), Replica::with("b", 1, real())];
        for (step, (what, n, prompt, blocks)) in steps.into_iter().enumerate() {
            let (millis, ticket) = (1 + step as u64, step as u64);
            let (first, second) = tier.split_at_mut(1);
            let (one, other) =
                if step % 2 == 0 { (&mut first[0], &mut second[0]) } else { (&mut second[0], &mut first[0]) };
            match what {
                0 => drop(one.handle(report(n, prompt as u32), millis)),
                _ => drop(one.handle(ask(ticket, prompt, blocks), millis)),
            }
            tell(one, other, millis);
            tell(other, one, millis);
        }
        let now = Timestamp::from_millis(100);
        for prompt in 0..6 {
            let Input::Asked(Asked { request, .. }) = ask(1, prompt, 30) else { unreachable!() };
            let [a, b] = &mut tier;
            let (one, other) = (a.scheduler.decide(&request, now).unwrap(), b.scheduler.decide(&request, now).unwrap());
            // A replica that dispatched everything itself received nothing, and considers itself isolated.
            if one.explanation.uncertainty == other.explanation.uncertainty {
                prop_assert_eq!(one.legs, other.legs);
            } else {
                prop_assert!(
                    [one.explanation.uncertainty, other.explanation.uncertainty].contains(&Uncertainty::Isolated)
                );
            }
        }
    }

    /// Two schedulers with all facts of each other answer alike, whichever dispatched and whichever scraped.
    #[test]
    fn equal_views_answer_alike(steps in proptest::collection::vec((0u8..5, 0u16..4, 0u64..6, 1u64..60), 1..60)) {
        let mut tier = [Replica::new("a", 1), Replica::new("b", 1)];
        let mut millis = 1;
        for (step, (what, n, prompt, blocks)) in steps.into_iter().enumerate() {
            millis += 3;
            let (first, second) = tier.split_at_mut(1);
            let (one, other) =
                if step % 2 == 0 { (&mut first[0], &mut second[0]) } else { (&mut second[0], &mut first[0]) };
            let ticket = step as u64;
            match what {
                0 => drop(one.handle(report(n, prompt as u32), millis)),
                1 => drop(one.handle(Input::TicketUpdate(Ticket(ticket / 2), News::FirstToken), millis)),
                2 => {
                    let outcome = if prompt % 2 == 0 { Outcome::Completed } else { Outcome::EngineError };
                    drop(one.handle(Input::TicketUpdate(Ticket(ticket / 3), News::Finished(outcome)), millis));
                }
                _ => drop(one.handle(ask(ticket, prompt, blocks), millis)),
            }
            tell(one, other, millis);
            tell(other, one, millis);
        }
        let now = Timestamp::from_millis(millis + 1);
        for prompt in 0..6 {
            let Input::Asked(Asked { request, .. }) = ask(1, prompt, 30) else { unreachable!() };
            let [a, b] = &mut tier;
            let (one, other) = (a.scheduler.decide(&request, now).unwrap(), b.scheduler.decide(&request, now).unwrap());
            prop_assert_eq!(one.legs, other.legs);
        }
    }
}

#[path = "cache_tests.rs"]
mod cache;
#[path = "crowd_tests.rs"]
mod crowds;
#[path = "failing_tests.rs"]
mod failing;
#[path = "first_token_tests.rs"]
mod first_token;
#[path = "stage_tests.rs"]
mod stages;
