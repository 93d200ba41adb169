//! Which answers may be missing, and which not.

use super::*;
use crate::plan::Fault;
use crate::promises::testing::{Tale, well};

fn done(request: u64, end: End) -> Fact {
    Fact::Done { request, end, first_token: None, prompt: (0, 0) }
}

fn unanswered(request: u64, replica: usize) -> Fact {
    Fact::Unanswered { request, replica, why: "connection refused" }
}

/// A tale that has gone on long enough for all replicas to have joined.
fn grown(faults: Vec<Fault>) -> Tale {
    let mut tale = Tale::with(faults);
    tale.at(10_000);
    tale
}

fn judged(tale: &Tale) -> Result<(), String> {
    tale.judged(EveryAskGetsOneAnswer::default())
}

#[test]
fn an_ask_with_one_answer_and_one_end_is_well() {
    let mut tale = grown(Vec::new());
    tale.ask(1, 0, 0);
    tale.sent(1, 0, 2);
    tale.client(done(1, End::Served));
    assert_eq!(judged(&tale), Ok(()));
    tale.client(done(1, End::Served));
    tale.breaks(EveryAskGetsOneAnswer::default(), "ends without having begun, or twice");
}

#[test]
fn a_second_answer_and_an_answer_of_another_are_not() {
    for by in [0, 1] {
        let mut tale = grown(Vec::new());
        tale.ask(1, 0, 0);
        if by == 0 {
            tale.sent(1, 0, 2);
        }
        tale.sent(1, by, 2);
        tale.breaks(EveryAskGetsOneAnswer::default(), "a second answer to request 1");
    }
}

#[test]
fn a_dead_replica_may_stay_silent_and_a_living_one_may_not() {
    let mut tale = grown(Vec::new());
    tale.ask(1, 0, 0);
    tale.by(0, Fact::Gone);
    tale.client(unanswered(1, 0));
    tale.ask(1, 1, 1);
    tale.sent(1, 1, 2);
    tale.client(done(1, End::Served));
    assert_eq!(judged(&tale), Ok(()));
    tale.ask(2, 2, 0);
    tale.client(unanswered(2, 2));
    tale.breaks(EveryAskGetsOneAnswer::default(), "replica-2 did not answer request 2");
}

#[test]
fn a_request_is_given_up_only_after_all_its_tries() {
    let mut tale = grown(Vec::new());
    for replica in 0..3 {
        tale.by(replica, Fact::Gone);
        tale.ask(1, replica, replica as u32);
        tale.client(unanswered(1, replica));
    }
    tale.client(done(1, End::Unanswered));
    assert_eq!(judged(&tale), Ok(()));
    tale.ask(2, 0, 0);
    tale.client(unanswered(2, 0));
    tale.client(done(2, End::Unanswered));
    tale.breaks(EveryAskGetsOneAnswer::default(), "request 2 was given up after 1 of 3 tries");
}

#[test]
fn a_way_that_was_cut_excuses_tries_until_two_seconds_after() {
    let cut = Fault::Cut { from: Place::Gateway, to: Place::Replica(0), one_way: false };
    let mut tale = grown(vec![cut]);
    tale.world(Fact::Struck(0));
    tale.at(11_000).world(Fact::Lifted(0));
    tale.at(13_000).ask(1, 0, 0);
    tale.at(14_000).client(unanswered(1, 0));
    tale.client(done(1, End::Vanished));
    assert_eq!(judged(&tale), Ok(()));
    tale.at(14_001).ask(2, 0, 0);
    tale.at(14_002).client(unanswered(2, 0));
    tale.breaks(EveryAskGetsOneAnswer::default(), "did not answer request 2");
}

#[test]
fn an_answer_is_due_after_five_seconds() {
    let mut tale = grown(Vec::new());
    tale.ask(1, 0, 0);
    tale.at(15_000).look(0, well(0));
    tale.breaks(EveryAskGetsOneAnswer::default(), "request 1 of 10s has no end");
    tale.at(15_001).look(0, well(0));
    tale.breaks(EveryAskGetsOneAnswer::default(), "has owed request 1 an answer");
}
