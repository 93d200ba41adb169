//! Two replicas, and an attacker who records their datagrams.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const ROUND: Duration = Duration::from_millis(50);

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], port))
}

fn sessions(name: &str, incarnation: u64, boot: u8) -> Sessions {
    let tokens = Tokens::new([boot; 32], ROUND);
    Sessions::new(ReplicaId(name.into()), Incarnation(incarnation), [boot; 16], tokens)
}

fn taken(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Take(_))
}

/// `a` at address 1 sends to `b` at address 2 until `b` accepts it; returns the accepted datagram.
fn meet(a: &mut Sessions, b: &mut Sessions, now: Timestamp) -> Datagram {
    let first = a.message(at(2), b"word", now);
    let Verdict::Answer(challenge, _) = b.judge(at(1), first, now) else { panic!("a challenge") };
    assert_eq!(a.judge(at(2), challenge, now), Verdict::Done);
    assert_eq!(a.again(at(2)).as_deref(), Some(&b"word"[..]), "what was refused is sent again");
    let second = a.message(at(2), b"word", now);
    assert!(taken(&b.judge(at(1), second.clone(), now)));
    second
}

#[test]
fn after_one_challenge_both_ways_are_open() {
    let (mut a, mut b, now) = (sessions("a", 1, 1), sessions("b", 1, 2), Timestamp::from_millis(5));
    let first = a.message(at(2), b"first", now);
    assert!(matches!(b.judge(at(1), first, now), Verdict::Answer(_, None)), "nothing to count");
    meet(&mut a, &mut b, now);
    let answer = b.message(at(1), b"answer", now);
    assert!(taken(&a.judge(at(2), answer, now)));
    let next = a.message(at(2), b"next", now);
    assert!(taken(&b.judge(at(1), next, now)));
}

#[test]
fn a_recording_is_not_accepted_twice_nor_from_elsewhere_nor_later() {
    let (mut a, mut b, now) = (sessions("a", 1, 1), sessions("b", 1, 2), Timestamp::from_millis(5));
    let recorded = meet(&mut a, &mut b, now);
    assert_eq!(b.judge(at(1), recorded.clone(), now), Verdict::Ignore("replayed"));
    assert!(matches!(b.judge(at(9), recorded.clone(), now), Verdict::Answer(_, Some("stale"))));
    for later in [20, 3_600, 1_000_000] {
        let later = now + Duration::from_secs(later);
        assert!(matches!(b.judge(at(1), recorded.clone(), later), Verdict::Answer(_, Some("stale"))));
    }
    let mut restarted = sessions("b", 2, 3);
    assert!(matches!(restarted.judge(at(1), recorded, now), Verdict::Answer(_, Some("stale"))), "b has restarted");
}

#[test]
fn an_unexpected_challenge_changes_nothing_and_is_not_answered() {
    let (mut a, mut b, now) = (sessions("a", 1, 1), sessions("b", 1, 2), Timestamp::from_millis(5));
    let first = a.message(at(2), b"word", now);
    let Verdict::Answer(challenge, _) = b.judge(at(1), first, now) else { panic!("a challenge") };
    assert_eq!(a.judge(at(9), challenge.clone(), now), Verdict::Ignore("stale"));
    assert_eq!(a.judge(at(2), challenge.clone(), now + Duration::from_secs(60)), Verdict::Ignore("stale"));
    assert_eq!(a.judge(at(2), challenge.clone(), now), Verdict::Done);
    assert_eq!(a.judge(at(2), challenge, now), Verdict::Ignore("replayed"));
}

#[test]
fn a_start_below_the_remembered_incarnation_is_challenged_and_refused() {
    let (mut a, mut b, now) = (sessions("a", 100, 1), sessions("b", 1, 2), Timestamp::from_millis(5));
    meet(&mut a, &mut b, now);
    // The machine's clock was set back before the restart.
    let mut again = sessions("a", 7, 3);
    let Verdict::Answer(challenge, None) = b.judge(at(1), again.hello(at(2), now), now) else { panic!("a challenge") };
    assert_eq!(again.judge(at(2), challenge, now), Verdict::Done);
    assert_eq!(again.superseded_by(), Some(Incarnation(100)));
    let low = again.message(at(2), b"word", now);
    assert!(matches!(b.judge(at(1), low, now), Verdict::Answer(_, Some("stale-incarnation"))));
    again.begin(Incarnation(101), [4; 16]);
    assert_eq!(again.superseded_by(), None);
    let word = again.message(at(2), b"word", now);
    assert!(taken(&b.judge(at(1), word, now)));
}

/// Two replicas of one name must not outbid each other for ever.
#[test]
fn a_superseded_replica_takes_the_next_incarnation_only_when_its_successor_is_silent() {
    let (mut old, mut b, now) = (sessions("a", 1, 1), sessions("b", 1, 2), Timestamp::from_millis(5));
    meet(&mut old, &mut b, now);
    let mut new = sessions("a", 9, 3);
    meet(&mut new, &mut b, now);
    let soon = now + Duration::from_millis(100);
    let exchange = |old: &mut Sessions, b: &mut Sessions, at_time| {
        let word = old.message(at(2), b"word", at_time);
        let Verdict::Answer(challenge, _) = b.judge(at(1), word, at_time) else { panic!("a challenge") };
        assert_eq!(old.judge(at(2), challenge, at_time), Verdict::Done);
    };
    exchange(&mut old, &mut b, soon);
    assert_eq!(old.superseded_by(), None);
    exchange(&mut old, &mut b, now + SUCCESSOR_SILENCE + Duration::from_millis(1));
    assert_eq!(old.superseded_by(), Some(Incarnation(9)));
}

#[test]
fn the_same_incarnation_of_another_start_is_too_low_and_ones_own_is_not() {
    let (mut a, mut b, now) = (sessions("a", 100, 1), sessions("b", 1, 2), Timestamp::from_millis(5));
    meet(&mut a, &mut b, now);
    let floor = |sessions: &mut Sessions, b: &mut Sessions| match b.judge(at(1), sessions.hello(at(2), now), now) {
        Verdict::Answer(Datagram { content: Content::Challenge { floor }, .. }, None) => floor.0,
        other => panic!("{other:?}"),
    };
    assert_eq!(floor(&mut a, &mut b), 0);
    assert_eq!(floor(&mut sessions("a", 100, 3), &mut b), 100);
    assert_eq!(floor(&mut sessions("b", 1, 4), &mut b), 1, "two replicas of one name");
    b.note(&ReplicaId("c".into()), Incarnation(50), now);
    assert_eq!(floor(&mut sessions("c", 50, 5), &mut b), 49, "peers may have reported this very start");
    assert_eq!(floor(&mut sessions("c", 7, 6), &mut b), 49);
}

#[test]
fn an_impossible_incarnation_is_neither_accepted_nor_taken_for_a_floor() {
    let (mut a, mut b, now) = (sessions("a", u64::MAX, 1), sessions("b", 1, 2), Timestamp::from_millis(5));
    assert_eq!(b.judge(at(1), a.hello(at(2), now), now), Verdict::Ignore("malformed"));
    b.note(&ReplicaId("x".into()), Incarnation(u64::MAX), now);
    assert!(b.newest.is_empty());
    let asked = b.hello(at(1), now);
    let (boot, content) = ([1; 16], Content::Challenge { floor: Incarnation(u64::MAX) });
    let forged = Datagram { boot, number: 0, echo: asked.token, token: [5; 16], content };
    assert_eq!(b.judge(at(1), forged, now), Verdict::Done);
    assert_eq!(b.superseded_by(), None);
}

#[test]
fn memory_is_bounded() {
    let (mut b, now) = (sessions("b", 1, 2), Timestamp::from_millis(5));
    for n in 0..2 * KEPT_MAX {
        let address = SocketAddr::from(([10, 1, (n / 256) as u8, (n % 256) as u8], 1));
        let mut a = sessions(&format!("a{n}"), 1, 1);
        a.boot = [[0; 8], n.to_le_bytes()].concat().try_into().unwrap();
        a.boot[0] = 1;
        a.held.insert(at(2), b.tokens.issue(address, now));
        b.judge(address, a.message(at(2), b"word", now), now);
        b.message(SocketAddr::from(([10, 2, (n / 256) as u8, (n % 256) as u8], 1)), b"word", now);
    }
    assert!(b.senders.len() <= KEPT_MAX && b.held.len() <= KEPT_MAX && b.newest.len() <= KEPT_MAX);
    assert!(b.again.len() <= AGAIN_MAX);
}

proptest! {
    /// A recording is never accepted, whenever and from wherever it is sent: each message is accepted at most once.
    #[test]
    fn no_recording_is_ever_accepted(plan in proptest::collection::vec((0usize..40, 1u16..4, 0u64..30_000), 1..60)) {
        let (mut a, mut b) = (sessions("a", 1, 1), sessions("b", 1, 2));
        let mut now = Timestamp::from_millis(5);
        let mut recorded = vec![meet(&mut a, &mut b, now)];
        for (which, port, pause) in plan {
            let replay = recorded[which % recorded.len()].clone();
            prop_assert!(!taken(&b.judge(at(port), replay, now)));
            now = now + Duration::from_millis(pause);
            let word = a.message(at(2), b"word", now);
            match b.judge(at(1), word.clone(), now) {
                Verdict::Take(_) => recorded.push(word),
                Verdict::Answer(challenge, _) => prop_assert_eq!(a.judge(at(2), challenge, now), Verdict::Done),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
