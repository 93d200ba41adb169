//! Which answers may be missing.

use super::*;
use crate::invariants::testing::{HistoryBuilder, well};
use crate::plan::Fault;

fn done(request: u64, end: End) -> Fact {
    Fact::Done { request, end, first_token: None, prompt: (0, 0) }
}

fn unanswered(request: u64, replica: usize) -> Fact {
    Fact::Unanswered { request, replica, why: "connection refused" }
}

/// A history that is long enough for all replicas to have joined.
fn joined(faults: Vec<Fault>) -> HistoryBuilder {
    let mut history = HistoryBuilder::with(faults);
    history.at(10_000);
    history
}

fn check(history: &HistoryBuilder) -> Result<(), String> {
    history.check(EveryAskGetsOneAnswer::default())
}

#[test]
fn one_answer_and_one_end_are_legal() {
    let mut history = joined(Vec::new());
    history.ask(1, 0, 0);
    history.sent(1, 0, 2);
    history.client(done(1, End::Served));
    assert_eq!(check(&history), Ok(()));
    history.client(done(1, End::Served));
    history.breaks(EveryAskGetsOneAnswer::default(), "ends without having begun, or twice");
}

#[test]
fn a_second_answer_and_an_answer_of_another_replica_are_not() {
    for by in [0, 1] {
        let mut history = joined(Vec::new());
        history.ask(1, 0, 0);
        if by == 0 {
            history.sent(1, 0, 2);
        }
        history.sent(1, by, 2);
        history.breaks(EveryAskGetsOneAnswer::default(), "a second answer to request 1");
    }
}

#[test]
fn a_dead_replica_may_stay_silent_and_a_living_one_may_not() {
    let mut history = joined(Vec::new());
    history.ask(1, 0, 0);
    history.by(0, Fact::Stopped);
    history.client(unanswered(1, 0));
    history.ask(1, 1, 1);
    history.sent(1, 1, 2);
    history.client(done(1, End::Served));
    assert_eq!(check(&history), Ok(()));
    history.ask(2, 2, 0);
    history.client(unanswered(2, 2));
    history.breaks(EveryAskGetsOneAnswer::default(), "replica-2 did not answer request 2");
}

#[test]
fn a_request_is_given_up_only_after_all_its_attempts() {
    let mut history = joined(Vec::new());
    for replica in 0..3 {
        history.by(replica, Fact::Stopped);
        history.ask(1, replica, replica as u32);
        history.client(unanswered(1, replica));
    }
    history.client(done(1, End::Unanswered));
    assert_eq!(check(&history), Ok(()));
    history.ask(2, 0, 0);
    history.client(unanswered(2, 0));
    history.client(done(2, End::Unanswered));
    history.breaks(EveryAskGetsOneAnswer::default(), "request 2 was given up after 1 of 3 attempts");
}

#[test]
fn a_cut_excuses_attempts_until_shortly_after_its_end() {
    let cut = Fault::Cut { from: Place::Gateway, to: Place::Replica(0), one_way: false };
    let mut history = joined(vec![cut]);
    history.world(Fact::FaultBegan(0));
    history.at(11_000).world(Fact::FaultEnded(0));
    history.at(13_500).ask(1, 0, 0);
    history.at(14_500).client(unanswered(1, 0));
    history.client(done(1, End::Vanished));
    assert_eq!(check(&history), Ok(()));
    history.at(14_501).ask(2, 0, 0);
    history.at(14_501).client(unanswered(2, 0));
    history.breaks(EveryAskGetsOneAnswer::default(), "did not answer request 2");
}

#[test]
fn an_answer_is_due_after_five_seconds() {
    let mut history = joined(Vec::new());
    history.ask(1, 0, 0);
    history.at(15_000).snapshot(0, well(0));
    history.breaks(EveryAskGetsOneAnswer::default(), "request 1 of 10s has no end");
    history.at(15_001).snapshot(0, well(0));
    history.breaks(EveryAskGetsOneAnswer::default(), "has not answered request 1");
}
