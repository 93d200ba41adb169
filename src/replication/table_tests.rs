//! Tests of the table.

#![allow(clippy::unwrap_used)]

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000);

/// A fact of `peer` on its open work.
fn publish(table: &mut Table, peer: PeerNumber, endpoint: u64, seq: u64, requests: u32, now: Timestamp) -> Noted {
    table.note(peer, Subject::InFlight(EndpointKey(endpoint)), seq, Some((busy(requests), NOTHING_SEEN)), now)
}

fn busy(requests: u32) -> InFlight {
    InFlight { requests, ..InFlight::default() }
}

#[test]
fn endpoints_outside_of_the_pool_never_crowd_out_those_in_it() {
    let mut table = Table::default();
    for endpoint in 0..OUTSIDE_MAX as u64 {
        assert_eq!(publish(&mut table, 1, endpoint, 1 + endpoint, 1, NOW), Noted::News);
    }
    let made_up = OUTSIDE_MAX as u64 + 1;
    assert_eq!(publish(&mut table, 1, made_up, 10_000, 1, NOW), Noted::Full, "all the others have open work");
    assert_eq!(publish(&mut table, 2, made_up, 1, 1, NOW), Noted::News, "each peer has a bound of its own");
    let real = OUTSIDE_MAX as u64 + 2;
    table.enters(EndpointKey(real));
    assert_eq!(publish(&mut table, 1, real, 10_001, 1, NOW), Noted::News);
    table.enters(EndpointKey(0));
    assert_eq!(publish(&mut table, 1, made_up, 10_002, 1, NOW), Noted::News, "one of them is in the pool now");
}

#[test]
fn idle_endpoints_outside_of_the_pool_make_room_for_new_ones() {
    let mut table = Table::default();
    for endpoint in 0..3 * OUTSIDE_MAX as u64 {
        assert_eq!(publish(&mut table, 1, endpoint, 1 + endpoint, 0, NOW), Noted::News);
    }
    assert!(table.len() <= OUTSIDE_MAX && table.outside.len() <= OUTSIDE_MAX);
}

#[test]
fn facts_about_an_endpoint_that_left_go_after_a_while_unless_there_is_open_work() {
    let mut table = Table::default();
    for endpoint in [1, 2] {
        table.enters(EndpointKey(endpoint));
        publish(&mut table, 1, endpoint, endpoint, endpoint as u32 - 1, NOW);
        table.leaves(EndpointKey(endpoint), NOW);
    }
    table.expire(NOW + LATE_MAX - Duration::from_micros(1));
    assert_eq!((table.len(), table.outside(1)), (2, 2));
    table.expire(NOW + LATE_MAX);
    assert_eq!((table.len(), table.outside(1)), (1, 1));
    assert_eq!(table.open_work(EndpointKey(2)).0, busy(1), "a peer still works on it");
    publish(&mut table, 1, 2, 3, 0, NOW + LATE_MAX);
    table.expire(NOW + LATE_MAX * 2);
    assert_eq!((table.len(), table.outside(1), table.rows.len(), table.outside.len()), (0, 0, 0, 0));
}

#[test]
fn endpoints_that_come_and_go_often_are_queued_once() {
    let mut table = Table::default();
    publish(&mut table, 1, 7, 1, 0, NOW);
    for _ in 0..1_000 {
        table.enters(EndpointKey(7));
        table.leaves(EndpointKey(7), NOW);
    }
    assert_eq!((table.outside.len(), table.outside(1), table.len()), (1, 1, 1));
    table.enters(EndpointKey(8));
    table.leaves(EndpointKey(8), NOW);
    assert_eq!(table.rows.len(), 1, "no peer published anything about it");
}

#[test]
fn a_forgotten_peer_leaves_nothing() {
    let mut table = Table::default();
    table.enters(EndpointKey(1));
    for peer in [1, 2] {
        for endpoint in [1, 2] {
            publish(&mut table, peer, endpoint, 5, peer, NOW);
        }
    }
    assert_eq!(table.forget(1), [EndpointKey(1), EndpointKey(2)]);
    assert_eq!((table.open_work(EndpointKey(1)).0, table.outside(1), table.outside(2)), (busy(2), 0, 1));
    assert_eq!(table.forget(2).len(), 2);
    table.expire(NOW + LATE_MAX);
    assert_eq!((table.len(), table.rows.len(), table.outside.len()), (0, 1, 0));
}
