//! Tests of engines that fail their requests.

use super::*;
use crate::plugin::Filter;

/// Sends `n` different prompts, one each `every` milliseconds. Requests on engine 0 end with `outcome`, all others
/// complete. Returns how many went to engine 0.
fn serve(replica: &mut Replica, n: u64, from: u64, every: u64, outcome: Outcome) -> usize {
    let mut went = 0;
    for at in (0..n).map(|i| from + i * every) {
        let zero = picked(&replica.handle(ask(at, at, 4), at)) == id(0);
        went += usize::from(zero);
        let outcome = if zero { outcome } else { Outcome::Completed };
        replica.handle(Input::TicketUpdate(Ticket(at), News::Finished(outcome)), at + 1);
    }
    went
}

/// A replica whose engines all report idle. Engine 0 is chosen unless it is known to fail.
fn idle(name: &str) -> Replica {
    let mut replica = Replica::new(name, 1);
    (0..4).for_each(|n| drop(replica.handle(report(n, 0), 1)));
    replica
}

fn fail(replica: &mut Replica, n: u16, at: u64) {
    for ticket in [at, at + 1] {
        let slot = replica.scheduler.fleet.slot(&id(n)).unwrap();
        let tenancy = replica.scheduler.fleet.tenancy(slot).unwrap();
        let mut out = Outbox::default();
        replica.scheduler.answered(tenancy, Outcome::EngineError, Timestamp::from_millis(ticket), &mut out);
        out.publish.drain(..).for_each(|(record, at)| replica.publisher.publish(record, at));
    }
}

#[test]
fn an_engine_that_fails_fast_with_an_idle_page_does_not_get_all_requests() {
    assert!((2..=10).contains(&serve(&mut idle("a"), 80, 100, 5, Outcome::EngineError)));
}

#[test]
fn only_engine_errors_count_as_failures() {
    for outcome in [Outcome::Rejected, Outcome::Abandoned, Outcome::Completed, Outcome::LeaseExpired] {
        assert_eq!(serve(&mut idle("a"), 80, 100, 5, outcome), 80, "{outcome:?}");
    }
}

#[test]
fn all_replicas_avoid_an_engine_that_one_saw_fail_and_explain_it() {
    let (mut a, mut b) = (idle("a"), idle("b"));
    fail(&mut a, 0, 100);
    tell(&mut a, &mut b, 102);
    for replica in [&mut a, &mut b] {
        let out = replica.handle(ask(103, 7, 4), 103);
        assert_ne!(picked(&out), id(0));
        let explanation = &out.answers[0].1.as_ref().unwrap().explanation;
        assert_eq!(explanation.failing.len(), 1);
        assert_eq!(explanation.failing[0].failures.to_string(), "2 of 2 in 10 s");
    }
    assert_eq!(a.endpoint(0, 104).failing, b.endpoint(0, 104).failing);
    b.handle(Input::PeerLost(ReplicaId("a".into()), Incarnation(1)), 105);
    assert_eq!(b.endpoint(0, 106).failing, None, "no living replica saw it fail");
}

#[test]
fn where_all_fail_all_are_tried() {
    let mut a = idle("a");
    (0..4).for_each(|n| fail(&mut a, n, 100));
    assert_eq!(picked(&a.handle(ask(200, 7, 4), 200)), id(0));
}

#[test]
fn a_failing_engine_is_tried_now_and_then_and_is_back_once_it_answers() {
    let mut a = idle("a");
    // Ten seconds of traffic in which all its requests fail.
    let tried = serve(&mut a, 500, 100, 20, Outcome::EngineError);
    assert!((3..=60).contains(&tried), "{tried} of 500");
    // It recovers: within ten seconds it serves again.
    serve(&mut a, 500, 10_200, 20, Outcome::Completed);
    assert_eq!(serve(&mut a, 50, 20_300, 20, Outcome::Completed), 50);
}

#[test]
fn failures_expire_without_new_answers() {
    let mut a = idle("a");
    fail(&mut a, 0, 100);
    assert_ne!(picked(&a.handle(ask(1, 7, 4), 200)), id(0));
    assert_eq!(picked(&a.handle(ask(2, 8, 4), 9_000)), id(0));
}

/// Keeps only engine 0.
#[derive(Debug)]
struct OnlyZero;

impl Filter for OnlyZero {
    fn filter(&self, _: &Ask<'_>, rows: &[Candidate<'_>], keep: &mut [bool]) {
        rows.iter().zip(keep).for_each(|(row, keep)| *keep = row.endpoint.id == id(0));
    }
}

#[test]
fn a_failing_engine_serves_what_no_other_engine_may() {
    let profile = SchedulingProfile {
        name: "default".into(),
        filters: vec![Named::new("only-zero", "only-zero", Arc::new(OnlyZero))],
        scorers: Vec::new(),
        picker: Named::new("best", "best", Arc::new(Best)),
    };
    let profiles = single(profile);
    let mut a = Replica::with("a", 1, Scheduler::new(profiles, settings()));
    fail(&mut a, 0, 100);
    assert_eq!(picked(&a.handle(ask(1, 7, 4), 200)), id(0));
}

#[test]
fn a_session_leaves_an_engine_that_fails() {
    let mut a = Replica::with("a", 1, faithful());
    (0..4).for_each(|n| drop(a.handle(report(n, 0), 1)));
    let first = picked(&a.handle(ask_of(9, 1, 7), 10));
    fail(&mut a, (0..4).find(|&n| id(n) == first).unwrap(), 100);
    assert_ne!(picked(&a.handle(ask_of(9, 2, 8), 200)), first);
}

#[test]
fn failures_are_not_published_at_an_earlier_wire_version() {
    let mut a = idle("a");
    a.publisher.limit(2);
    let before = a.publisher.head();
    fail(&mut a, 0, 100);
    assert_eq!(a.publisher.head(), before);
}

#[test]
fn a_request_that_failed_or_was_rejected_leaves_no_placement_on_any_replica() {
    for outcome in [Outcome::EngineError, Outcome::Rejected] {
        let (mut a, mut b) = (idle("a"), idle("b"));
        a.handle(ask(1, 7, 40), 10);
        tell(&mut a, &mut b, 11);
        assert_eq!((a.endpoint(0, 11).index_blocks, b.endpoint(0, 11).index_blocks), (40, 40));
        a.handle(Input::TicketUpdate(Ticket(1), News::Finished(outcome)), 20);
        tell(&mut a, &mut b, 21);
        assert_eq!((a.endpoint(0, 21).index_blocks, b.endpoint(0, 21).index_blocks), (0, 0), "{outcome:?}");
    }
}

#[test]
fn an_engine_that_begins_or_stops_failing_causes_one_event() {
    let mut a = idle("a");
    fail(&mut a, 0, 100);
    let mut events_at = |at| {
        let events = a.handle(Input::Tick, at).events;
        events.into_iter().filter(|event| matches!(event, Event::EndpointFailing { .. })).count()
    };
    assert_eq!([events_at(200), events_at(300), events_at(9_000), events_at(9_100)], [1, 0, 1, 0]);
}
