//! Tests of how a crowd is spread, and of what a request of it counts.

use super::*;
use crate::schedule::Uncertainty;
use crate::scheduler::crowd::Crowd;

/// Two replicas that each dispatched five requests at one moment, and heard of the other's five milliseconds later.
fn in_a_crowd(scheduler: impl Fn() -> Scheduler) -> [Replica; 2] {
    let mut tier = ["a", "b"].map(|name| Replica::with(name, 1, scheduler()));
    for (n, replica) in tier.iter_mut().enumerate() {
        (0..4).for_each(|endpoint| drop(replica.handle(report(endpoint, 0), 99)));
        (0..5).for_each(|ticket| drop(replica.handle(ask(ticket, ticket + 10 * n as u64, 30), 100)));
    }
    let [a, b] = &mut tier;
    tell(a, b, 105);
    tell(b, a, 105);
    tier
}

fn request(prompt: u64) -> InferenceRequest {
    let Input::Asked(Asked { request, .. }) = ask(1, prompt, 30) else { unreachable!() };
    *request
}

fn waits(replica: &Replica, millis: u64) -> Vec<Duration> {
    (0..100).map(|prompt| replica.scheduler.wait_in_crowd(&request(prompt), Timestamp::from_millis(millis))).collect()
}

#[test]
fn a_crowd_is_kept_back_for_a_bounded_time_that_follows_from_the_request() {
    let tier = in_a_crowd(real);
    let [a, b] = &tier;
    let found = waits(a, 106);
    assert_eq!(found, waits(b, 106), "equal views");
    let (least, most) = (found.iter().min().unwrap(), found.iter().max().unwrap());
    assert!(*least < Duration::from_millis(3) && *most > Duration::from_millis(20), "{least:?} to {most:?}");
    assert!(*most <= Duration::from_millis(25));
    assert!(waits(a, 2_000).iter().all(Duration::is_zero), "after a pause there is no crowd");
}

/// A request that Envoy sent to another endpoint is told as a placement, which a peer counts as a dispatch.
#[test]
fn a_request_that_was_served_elsewhere_after_a_pause_counts_the_same_on_all_replicas() {
    let [mut a, mut b] = in_a_crowd(real);
    let used = picked(&a.handle(ask(9, 9, 30), 1_000));
    tell(&mut a, &mut b, 1_001);
    let other = (0..4).find(|&n| id(n) != used).unwrap();
    a.handle(Input::TicketUpdate(Ticket(9), News::Served(address(other))), 5_000);
    tell(&mut a, &mut b, 5_001);
    assert_eq!(waits(&a, 9_000), waits(&b, 9_000));
    let crowd = |replica: &Replica| replica.scheduler.crowd(&request(1), Duration::ZERO, Timestamp::from_millis(9_000));
    assert_eq!(crowd(&a), crowd(&b));
    assert_ne!(crowd(&a), Crowd::default(), "else the test compares nothing");
}

#[test]
fn a_configuration_of_llm_d_keeps_nothing_back() {
    let llm_d = || of_config(crate::config::llm_d_text());
    assert!(waits(&in_a_crowd(llm_d)[0], 106).iter().all(Duration::is_zero));
    assert!(waits(&Replica::with("alone", 1, real()), 106).iter().all(Duration::is_zero));
}

/// Half of the nine others are the peer's: 4.5 are unknown. Spread over 25 ms, those within the lag of 6.5 ms are.
#[test]
fn who_was_kept_back_expects_fewer_that_it_does_not_know() {
    let [mut a, _] = in_a_crowd(real);
    let now = Timestamp::from_millis(106);
    let mut unknown = |waited| match a.scheduler.decide_after(&request(1), waited, now).unwrap().explanation.uncertainty
    {
        Uncertainty::Concurrent(of) => of - 1,
        _ => 0,
    };
    assert_eq!([Duration::ZERO, Duration::from_millis(9)].map(&mut unknown), [5, 1]);
}

/// Five hundred requests a second are at each moment as many as in a crowd, and waiting makes them no fewer.
#[test]
fn traffic_that_comes_evenly_is_kept_back_by_nothing_however_much_it_is() {
    let mut tier = ["a", "b"].map(|name| Replica::with(name, 1, real()));
    for n in 0..60 {
        let millis = 100 + n * 2;
        let [a, b] = &mut tier;
        drop(a.handle(ask(n, n, 30), millis));
        drop(b.handle(ask(n, n + 100, 30), millis + 1));
        tell(a, b, millis + 1);
        tell(b, a, millis + 1);
    }
    let [a, _] = &mut tier;
    assert!(waits(a, 220).iter().all(Duration::is_zero));
    let decision = a.scheduler.decide(&request(1), Timestamp::from_millis(220)).unwrap();
    assert!(matches!(decision.explanation.uncertainty, Uncertainty::Concurrent(_)));
}
