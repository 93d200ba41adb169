//! Tests of what a first token shows, here and at peers.

use super::*;
use crate::fleet::PrefillSpeed;
use crate::replication::codec;

#[test]
fn a_finished_request_counts_on_no_replica() {
    let (mut a, mut b) = (Replica::new("a", 1), Replica::new("b", 1));
    let first = picked(&a.handle(ask(1, 7, 40), 10));
    a.handle(Input::TicketUpdate(Ticket(1), News::FirstToken), 20);
    tell(&mut a, &mut b, 21);
    let n = (0..4).find(|&n| id(n) == first).unwrap();
    let answering = InFlight { requests: 1, decode_tokens: 3840, ..InFlight::default() };
    assert_eq!(b.endpoint(n, 21).foreign, answering, "the prompt is computed, and the answer is still to come");
    a.handle(Input::TicketUpdate(Ticket(1), News::Finished(Outcome::Completed)), 30);
    tell(&mut a, &mut b, 31);
    assert_eq!(b.endpoint(n, 31).foreign, InFlight::default());
}

/// A request of 2,560 prompt tokens whose answer is streamed.
fn streamed() -> Input {
    let Input::Asked(mut asked) = ask(1, 7, 40) else { unreachable!() };
    asked.request.streaming = true;
    Input::Asked(asked)
}

/// It comes when it is complete.
#[test]
fn an_answer_in_one_piece_says_nothing_of_speed() {
    let mut a = Replica::new("a", 1);
    a.handle(ask(1, 7, 40), 10);
    a.handle(Input::TicketUpdate(Ticket(1), News::FirstToken), 9_000);
    assert!(a.scheduler.fleet.iter().all(|(_, entry)| entry.prefill_speed() == Some(PrefillSpeed::default())));
}

#[test]
fn all_replicas_know_how_fast_an_engine_computed_what_one_saw() {
    let (mut a, mut b) = (Replica::new("a", 1), Replica::new("b", 1));
    let first = picked(&a.handle(streamed(), 10));
    let speed = |replica: &Replica| {
        let fleet = &replica.scheduler.fleet;
        fleet.slot(&first).and_then(|slot| fleet.get(slot)).unwrap().prefill_speed()
    };
    a.handle(Input::TicketUpdate(Ticket(1), News::FirstToken), 138);
    tell(&mut a, &mut b, 139);
    assert_eq!(speed(&a), Some(PrefillSpeed { tokens: 2_560, millis: 128 }));
    assert_eq!(speed(&b), speed(&a));
    a.handle(Input::TicketUpdate(Ticket(1), News::FirstToken), 500);
    a.handle(Input::TicketUpdate(Ticket(1), News::Finished(Outcome::Completed)), 600);
    tell(&mut a, &mut b, 601);
    assert_eq!((speed(&a).unwrap().millis, speed(&b)), (128, speed(&a)), "a prompt has one first token");
    b.handle(Input::PeerLost(ReplicaId("a".into()), Incarnation(1)), 700);
    assert_eq!(speed(&b), Some(PrefillSpeed::default()));
}

#[test]
fn a_request_that_was_served_elsewhere_says_nothing_of_speed() {
    let mut a = Replica::new("a", 1);
    let decided = picked(&a.handle(streamed(), 10));
    let n = (0..4).find(|&n| id(n) != decided).unwrap();
    let address = a.endpoint(n, 11).endpoint.address;
    a.handle(Input::TicketUpdate(Ticket(1), News::Served(address)), 12);
    a.handle(Input::TicketUpdate(Ticket(1), News::FirstToken), 300);
    let fleet = &a.scheduler.fleet;
    assert!(fleet.iter().all(|(_, entry)| entry.prefill_speed() == Some(PrefillSpeed::default())));
}

/// A peer of an earlier release neither says nor reads it.
#[test]
fn no_replica_counts_speeds_while_one_does_not_say_them() {
    let (mut a, mut b) = (Replica::new("a", 1), Replica::new("b", 1));
    let first = picked(&a.handle(streamed(), 10));
    a.handle(Input::TicketUpdate(Ticket(1), News::FirstToken), 138);
    let speed = |replica: &Replica| {
        let fleet = &replica.scheduler.fleet;
        fleet.slot(&first).and_then(|slot| fleet.get(slot)).unwrap().prefill_speed()
    };
    let within = |mut batch: Batch| {
        for fact in &mut batch.facts {
            fact.record = codec::within(3, fact.record.clone()).unwrap();
        }
        Input::Batch(Box::new(batch))
    };
    let (from_a, from_b) = (a.news(139).unwrap(), b.news(139).unwrap());
    b.handle(within(from_a), 139);
    a.handle(within(from_b), 139);
    assert_eq!((speed(&a), speed(&b)), (None, None));
    a.handle(Input::PeerLost(ReplicaId("b".into()), Incarnation(1)), 200);
    assert!(speed(&a).is_some());
}

/// Gossip pages of a tier of two releases can't carry speeds; the stream brings the same fact with its speed.
#[test]
fn a_fact_that_is_known_without_its_speed_gets_it_by_the_other_lane() {
    let (mut a, mut b) = (Replica::new("a", 1), Replica::new("b", 1));
    let first = picked(&a.handle(streamed(), 10));
    a.handle(Input::TicketUpdate(Ticket(1), News::FirstToken), 138);
    let batch = a.news(139).unwrap();
    let mut early = batch.clone();
    for fact in &mut early.facts {
        fact.record = codec::within(3, fact.record.clone()).unwrap();
    }
    b.handle(Input::Batch(Box::new(early)), 139);
    b.handle(Input::Batch(Box::new(batch)), 140);
    let fleet = &b.scheduler.fleet;
    let speed = fleet.slot(&first).and_then(|slot| fleet.get(slot)).unwrap().prefill_speed();
    assert_eq!(speed, Some(PrefillSpeed { tokens: 2_560, millis: 128 }));
}
