//! Tests the order of detached tickets against a plain search through all tickets.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::fleet::{Endpoint, Fleet};

/// One operation on a ledger.
#[derive(Clone, Debug)]
enum Step {
    Open { ticket: u64, on: usize, prefill: Option<usize>, sees_response: bool },
    EndStage(u64),
    Close(u64),
    Move { ticket: u64, to: usize },
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..40_u64, 0..4_usize, proptest::option::of(0..4_usize), any::<bool>())
            .prop_map(|(ticket, on, prefill, sees_response)| Step::Open { ticket, on, prefill, sees_response }),
        2 => (0..40_u64).prop_map(Step::EndStage),
        2 => (0..40_u64).prop_map(Step::Close),
        2 => (0..40_u64, 0..4_usize).prop_map(|(ticket, to)| Step::Move { ticket, to }),
        1 => Just(Step::Expire),
    ]
}

/// Four endpoints and their tenancies.
fn tenancies() -> Vec<(EndpointId, Tenancy)> {
    let mut fleet = Fleet::default();
    let ids = (0..4_u8).map(|n| (n, EndpointId::new("default", &format!("e{n}"))));
    let mut tenancy = |(n, id): (u8, EndpointId)| {
        let endpoint = Endpoint { id: id.clone(), address: ([10, 0, 0, n], 8000).into(), labels: BTreeMap::new() };
        fleet.upsert(endpoint, &mut Vec::new());
        let tenancy = fleet.slot(&id).and_then(|slot| fleet.tenancy(slot));
        tenancy.map(|tenancy| (id, tenancy))
    };
    ids.filter_map(&mut tenancy).collect()
}

fn searched(ledger: &Ledger, tenancy: Tenancy, before: Timestamp, spared: usize) -> Vec<Ticket> {
    let awaited = |open: &Open| {
        let prefill = open.holds.iter().find(|hold| hold.stage == Stage::Prefill);
        prefill.or(open.holds.first()).map(|hold| hold.tenancy)
    };
    let on = |open: &Open| awaited(open) == Some(tenancy);
    let old = |open: &Open| !open.sees_response && open.since < before;
    let mut all: Vec<_> =
        ledger.open.iter().filter(|(_, o)| old(o) && on(o)).map(|(&ticket, open)| (open.since, ticket)).collect();
    all.sort_unstable();
    all.truncate(all.len().saturating_sub(spared));
    all.into_iter().map(|(_, ticket)| ticket).collect()
}

proptest! {
    #[test]
    fn the_order_of_each_endpoint_is_what_a_search_through_all_tickets_finds(
        steps in vec(step(), 0..120), before in 0..200_u64, spared in 0..6_usize,
    ) {
        let (tenancies, mut ledger) = (tenancies(), Ledger::new(Duration::from_millis(90)));
        for (i, step) in steps.into_iter().enumerate() {
            let now = Timestamp::from_millis(i as u64);
            match step {
                Step::Open { ticket, on, prefill, sees_response } => {
                    let hold = |stage, on: usize| {
                        let (endpoint, tenancy) = tenancies[on].clone();
                        Hold { stage, endpoint, tenancy, share: InFlight::default(), waited_for: 0, held_before: 0 }
                    };
                    let mut holds = vec![hold(Stage::Decode, on)];
                    holds.extend(prefill.map(|on| hold(Stage::Prefill, on)));
                    ledger.open(Ticket(ticket), holds, Vec::new(), sees_response, now);
                }
                Step::EndStage(ticket) => {
                    let ended = ledger.end_stage(Ticket(ticket), now);
                    prop_assert!(ended.iter().all(|hold| hold.stage == Stage::Prefill));
                }
                Step::Close(ticket) => drop(ledger.close(Ticket(ticket))),
                Step::Move { ticket, to } => {
                    let (endpoint, tenancy) = tenancies[to].clone();
                    ledger.move_first_hold(Ticket(ticket), endpoint, tenancy);
                }
                Step::Expire => drop(ledger.expire(now)),
            }
        }
        let before = Timestamp::from_millis(before);
        for (_, tenancy) in &tenancies {
            prop_assert_eq!(
                ledger.detached(*tenancy, before, spared),
                searched(&ledger, *tenancy, before, spared)
            );
        }
        while let Some(&ticket) = ledger.open.keys().next() {
            ledger.close(ticket);
        }
        prop_assert!(ledger.detached.is_empty(), "nothing is kept of endpoints without open tickets");
    }
}
