//! Tests of session bindings.

use proptest::prelude::*;

use super::*;

const A: EndpointKey = EndpointKey(1);
const B: EndpointKey = EndpointKey(2);

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn sessions() -> Sessions {
    Sessions::new(Duration::from_secs(8))
}

#[test]
fn a_binding_lives_as_long_as_it_is_used_and_no_longer_than_its_time() {
    let (mut sessions, one) = (sessions(), SessionKey(1));
    sessions.bind(one, A, at(0));
    assert_eq!(sessions.find(one, at(7_999)), Some(A));
    assert_eq!(sessions.find(one, at(8_000)), None);
    sessions.bind(one, A, at(7_000));
    assert_eq!(sessions.find(one, at(14_999)), Some(A));
    sessions.expire(at(15_000));
    assert!(sessions.is_empty());
}

#[test]
fn new_bindings_are_published_and_used_ones_again_now_and_then() {
    let (mut sessions, one) = (sessions(), SessionKey(1));
    assert!(sessions.bind(one, A, at(0)));
    assert!(!sessions.bind(one, A, at(999)));
    assert!(sessions.bind(one, A, at(1_000)), "an eighth of its time to live has passed");
    assert!(sessions.bind(one, B, at(1_001)), "it moved");
    sessions.receive(one, A, Duration::from_millis(100), at(1_600));
    assert!(!sessions.bind(one, A, at(1_700)), "a peer published it just now");
}

#[test]
fn an_older_binding_never_replaces_a_newer_one() {
    let (mut sessions, one) = (sessions(), SessionKey(1));
    sessions.bind(one, A, at(500));
    sessions.receive(one, B, Duration::from_millis(200), at(600));
    assert_eq!(sessions.find(one, at(600)), Some(A));
    sessions.receive(one, B, Duration::from_millis(50), at(600));
    assert_eq!(sessions.find(one, at(600)), Some(B));
}

#[test]
fn a_replica_that_just_started_orders_old_bindings() {
    let (mut sessions, one) = (sessions(), SessionKey(1));
    sessions.receive(one, A, Duration::from_secs(5), at(10));
    sessions.receive(one, B, Duration::from_secs(6), at(10));
    assert_eq!(sessions.find(one, at(10)), Some(A));
    sessions.receive(SessionKey(2), B, Duration::from_secs(9), at(10));
    assert_eq!(sessions.find(SessionKey(2), at(10)), None, "it had expired before");
}

#[test]
fn beyond_the_bound_the_oldest_of_one_tenant_is_forgotten() {
    let mut sessions = sessions();
    (0..BINDINGS_MAX as u64 + 10).for_each(|n| assert!(sessions.bind(SessionKey(n), A, at(n / 100))));
    assert_eq!((sessions.len(), sessions.by_age.len()), (BINDINGS_MAX, BINDINGS_MAX));
    assert_eq!((sessions.find(SessionKey(9), at(1)), sessions.find(SessionKey(10), at(1))), (None, Some(A)));
    let newest: Vec<u64> = sessions.newest(2, at(1_000)).iter().map(|(session, ..)| session.0).collect();
    assert_eq!(newest, [BINDINGS_MAX as u64 + 8, BINDINGS_MAX as u64 + 9]);
}

/// A session of a tenant.
fn of(tenant: u64, session: u64) -> SessionKey {
    SessionKey(tenant << 48 | session)
}

#[test]
fn a_tenant_that_makes_up_sessions_without_end_evicts_its_own() {
    let mut sessions = sessions();
    (0..1_000).for_each(|n| _ = sessions.bind(of(1, n), A, at(0)));
    (0..100).for_each(|n| _ = sessions.bind(of(2, n), A, at(0)));
    (0..BINDINGS_MAX as u64 * 2).for_each(|n| _ = sessions.bind(of(3, n), B, at(1 + n / 1_000)));
    assert_eq!(sessions.len(), BINDINGS_MAX);
    assert!((0..1_000).all(|n| sessions.find(of(1, n), at(200)) == Some(A)));
    assert!((0..100).all(|n| sessions.find(of(2, n), at(200)) == Some(A)));
    // Bindings received from peers count the same.
    (0..BINDINGS_MAX as u64).for_each(|n| sessions.receive(of(3, 1 << 40 | n), B, Duration::ZERO, at(300)));
    assert!((0..1_000).all(|n| sessions.find(of(1, n), at(300)) == Some(A)));
}

#[test]
fn expired_bindings_leave_nothing() {
    let mut sessions = sessions();
    (0..100).for_each(|n| _ = sessions.bind(of(n % 7, n / 2), A, at(n)));
    sessions.expire(at(60_000));
    assert!(sessions.is_empty() && sessions.by_age.is_empty());
    assert!(sessions.by_tenant.is_empty() && sessions.sizes.is_empty());
}

proptest! {
    #[test]
    fn the_order_of_arrival_does_not_matter(
        bindings in proptest::collection::vec((0u64..6, 0u64..4, 0u64..2_000), 1..60),
        seed in any::<u64>(),
    ) {
        let mut shuffled = bindings.clone();
        shuffled.sort_by_key(|&(session, endpoint, used)| crate::chance::mix(seed ^ session ^ endpoint << 8 ^ used << 16));
        let (mut one, mut other) = (sessions(), sessions());
        for (held, bindings) in [(&mut one, bindings), (&mut other, shuffled)] {
            for (session, endpoint, used) in bindings {
                let age = Duration::from_millis(used);
                held.receive(SessionKey(session), EndpointKey(endpoint), age, at(1_000));
            }
        }
        prop_assert_eq!(one.newest(99, at(1_000)), other.newest(99, at(1_000)));
    }
}
