//! Tests of one scheduler's behaviour and invariants.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::chance::Chance;
use crate::fleet::{Endpoint, InFlight, LoadReport};
use crate::id::BlockHash;
use crate::plugin::profile_handler::SingleProfileHandler;
use crate::plugin::{Picker, Scorer};
use crate::prefix::PrefixChain;
use crate::request::{Outcome, Prompt};
use crate::schedule::named::Named;
use crate::schedule::profile::{SchedulingProfile, Weighted};
use crate::schedule::{Candidate, Plugins};
use crate::scheduler::recent::RECENT_MAX;

/// Fewer waiting is better, and a matched prefix is worth two waiting requests.
#[derive(Debug)]
struct ShortQueue;

impl Scorer for ShortQueue {
    fn score(&self, _: &Ask<'_>, rows: &[Candidate<'_>], scores: &mut [f64]) {
        for (row, score) in rows.iter().zip(scores) {
            *score = (1.0 - (row.waiting - 2.0 * row.matched.ratio()) / 100.0) * 0.9;
        }
    }
}

#[derive(Debug)]
struct Best;

impl Picker for Best {
    fn pick(&self, _: &Ask<'_>, rows: &[Candidate<'_>], totals: &[f64], _: &mut Chance, chosen: &mut Vec<usize>) {
        chosen.extend((0..rows.len()).max_by(|&a, &b| totals[a].total_cmp(&totals[b]).then(b.cmp(&a))));
    }
}

fn settings() -> SchedulerSettings {
    SchedulerSettings {
        prefix: PrefixSettings {
            enabled: true,
            block_tokens: 64,
            blocks_max: 2048,
            capacity_blocks: 1000,
            auto_tune: true,
            bytes_per_token: 4,
        },
        in_flight: InFlightSettings {
            add_estimated_output_tokens: false,
            output_ratio: 1.5,
            max_estimated_output_tokens: None,
        },
        saturation: SaturationSettings { queue_depth_threshold: 5.0, kv_cache_util_threshold: 0.8 },
        index_bytes_max: 1 << 20,
        recent_max: RECENT_MAX,
        lease: Duration::from_secs(60),
        sharing: true,
        trust_ages: TrustAges::default(),
    }
}

fn scheduler() -> Scheduler {
    let profile = SchedulingProfile {
        name: "default".into(),
        filters: Vec::new(),
        scorers: vec![Weighted { weight: 1.0, scorer: Named::new("queue", "short-queue", Arc::new(ShortQueue)) }],
        picker: Named::new("best", "best", Arc::new(Best)),
    };
    Scheduler::new(single(profile), settings())
}

fn single(profile: SchedulingProfile) -> Profiles {
    let handler = Arc::new(SingleProfileHandler);
    Profiles::new(Plugins {
        topology: crate::fleet::TopologyLabels::default(),
        handler: Named::new("single", "single-profile-handler", handler),
        deciders: Vec::new(),
        profiles: vec![profile],
        admissions: Vec::new(),
        request_hooks: Vec::new(),
        response_hooks: Vec::new(),
        headers: Vec::new(),
        kept: Vec::new(),
    })
}

fn address(n: u16) -> SocketAddr {
    ([127, 0, 0, 1], 8000 + n).into()
}

fn id(n: u16) -> EndpointId {
    EndpointId::new("default", &format!("e{n}"))
}

fn upsert(n: u16) -> Input {
    let labels = BTreeMap::new();
    Input::Discovered(vec![EndpointChange::Upsert(Endpoint { id: id(n), address: address(n), labels })])
}

fn report(n: u16, waiting: u32) -> Input {
    let report = LoadReport { waiting, awake: true, ..LoadReport::default() };
    Input::Observed(id(n), Observation { report, age: Duration::ZERO })
}

fn ask(ticket: u64, prompt: u64, blocks: u64) -> Input {
    let chain =
        PrefixChain::from_blocks(64, (0..blocks).map(|i| BlockHash(crate::chance::mix(prompt * 1000 + i))).collect());
    let request = InferenceRequest {
        id: format!("r{ticket}"),
        prompt: Prompt::estimated(blocks * 64, 0, chain),
        content_hash: prompt,
        sees_response: true,
        ..InferenceRequest::default()
    };
    Input::Asked(Asked::new(Ticket(ticket), request))
}

/// Feeds inputs one millisecond apart; returns the answers' endpoints.
fn feed(scheduler: &mut Scheduler, from_ms: u64, inputs: impl IntoIterator<Item = Input>) -> Vec<Option<EndpointId>> {
    let mut out = Outbox::default();
    for (i, input) in inputs.into_iter().enumerate() {
        scheduler.handle(input, Timestamp::from_millis(from_ms + i as u64), &mut out);
    }
    let primary = |answer: Result<Arc<Decision>, Refusal>| answer.ok().map(|d| d.primary().unwrap().endpoint.clone());
    out.answers.into_iter().map(|(_, answer)| primary(answer)).collect()
}

fn in_flight(scheduler: &Scheduler) -> Vec<InFlight> {
    scheduler.summary(Timestamp::ZERO).endpoints.into_iter().map(|endpoint| endpoint.in_flight).collect()
}

/// A scheduler with the plugins of a configuration.
fn of_config(text: &str) -> Scheduler {
    Scheduler::new(crate::config::read(text, "test", &crate::config::Catalog::builtin()).unwrap().profiles, settings())
}

#[test]
fn a_burst_spreads_because_each_request_is_reserved_before_the_next_is_scored() {
    let mut scheduler = scheduler();
    feed(&mut scheduler, 0, [upsert(0), upsert(1), upsert(2), report(0, 0), report(1, 0), report(2, 0)]);
    feed(&mut scheduler, 100, (0..30).map(|t| ask(t, 1000 + t, 0)));
    assert!(in_flight(&scheduler).iter().all(|load| load.requests == 10), "{:?}", in_flight(&scheduler));
}

#[test]
fn equal_prompts_that_arrive_together_go_to_the_same_endpoint() {
    let mut scheduler = scheduler();
    feed(&mut scheduler, 0, [upsert(0), upsert(1), report(0, 0), report(1, 0)]);
    let answers = feed(&mut scheduler, 50, [ask(1, 7, 40), ask(2, 7, 40)]);
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn a_request_that_ends_before_its_first_token_leaves_no_placement_behind() {
    let mut scheduler = scheduler();
    feed(&mut scheduler, 0, [upsert(0), report(0, 0), ask(1, 7, 40)]);
    assert_eq!(scheduler.summary(Timestamp::ZERO).endpoints[0].index_blocks, 40);
    feed(&mut scheduler, 10, [Input::TicketUpdate(Ticket(1), News::Finished(Outcome::Abandoned))]);
    assert_eq!(scheduler.summary(Timestamp::ZERO).endpoints[0].index_blocks, 0);

    feed(&mut scheduler, 20, [ask(2, 7, 40), Input::TicketUpdate(Ticket(2), News::FirstToken)]);
    feed(&mut scheduler, 30, [Input::TicketUpdate(Ticket(2), News::Finished(Outcome::Abandoned))]);
    assert_eq!(scheduler.summary(Timestamp::ZERO).endpoints[0].index_blocks, 40);
}

#[test]
fn load_and_placement_move_with_the_request_when_envoy_used_a_fallback() {
    let mut scheduler = scheduler();
    feed(&mut scheduler, 0, [upsert(0), upsert(1), report(0, 0), report(1, 5), ask(1, 7, 10)]);
    assert_eq!(
        in_flight(&scheduler)[0],
        InFlight { requests: 1, prefills: 1, prefill_tokens: 640, decode_tokens: 960, ..InFlight::default() }
    );
    feed(&mut scheduler, 10, [Input::TicketUpdate(Ticket(1), News::Served(address(1)))]);
    assert_eq!(
        in_flight(&scheduler),
        [
            InFlight::default(),
            InFlight { requests: 1, prefills: 1, prefill_tokens: 640, decode_tokens: 960, ..InFlight::default() }
        ]
    );
    let blocks: Vec<u64> = scheduler.summary(Timestamp::ZERO).endpoints.iter().map(|e| e.index_blocks).collect();
    assert_eq!(blocks, [0, 10]);
    feed(&mut scheduler, 20, [Input::TicketUpdate(Ticket(1), News::Finished(Outcome::Completed))]);
    assert_eq!(in_flight(&scheduler), [InFlight::default(); 2]);
}

#[test]
fn a_detached_request_ends_when_the_engine_reports_too_few_unfinished_requests() {
    let mut scheduler = scheduler();
    feed(&mut scheduler, 0, [upsert(0), report(0, 0)]);
    let Input::Asked(mut asked) = ask(1, 7, 10) else { unreachable!() };
    asked.request.sees_response = false;
    feed(&mut scheduler, 10, [Input::Asked(asked)]);
    // Too early: the request may not have reached the engine's gauges.
    feed(&mut scheduler, 300, [report(0, 0)]);
    assert_eq!(in_flight(&scheduler)[0].requests, 1);
    feed(&mut scheduler, 600, [report(0, 1)]);
    assert_eq!(in_flight(&scheduler)[0].requests, 1);
    feed(&mut scheduler, 700, [report(0, 0)]);
    assert_eq!(in_flight(&scheduler)[0], InFlight::default());
}

#[test]
fn a_detached_request_ends_with_its_endpoint() {
    let mut scheduler = scheduler();
    let Input::Asked(mut asked) = ask(1, 7, 10) else { unreachable!() };
    asked.request.sees_response = false;
    feed(&mut scheduler, 0, [upsert(0), report(0, 0), Input::Asked(asked), ask(2, 8, 10)]);
    feed(&mut scheduler, 10, [Input::Discovered(vec![EndpointChange::Remove(id(0))]), upsert(0)]);
    let balance = scheduler.summary(Timestamp::ZERO).tickets;
    // The other request's stream reports its end.
    assert_eq!((balance.open, balance.closed), (1, 1));
    feed(&mut scheduler, 20, [Input::TicketUpdate(Ticket(2), News::Finished(Outcome::Completed))]);
    assert_eq!(scheduler.summary(Timestamp::ZERO).tickets.open, 0);
}

#[test]
fn an_expired_lease_closes_the_ticket() {
    let mut scheduler = scheduler();
    feed(&mut scheduler, 0, [upsert(0), report(0, 0), ask(1, 7, 10)]);
    feed(&mut scheduler, 60_001, [Input::Tick]);
    assert_eq!(in_flight(&scheduler)[0].requests, 1);
    feed(&mut scheduler, 60_002, [Input::Tick]);
    let balance = scheduler.summary(Timestamp::ZERO).tickets;
    assert_eq!((balance.open, balance.expired, in_flight(&scheduler)[0]), (0, 1, InFlight::default()));
}

#[test]
fn an_objective_below_zero_is_shed_by_a_full_pool_and_others_are_not() {
    let mut scheduler = scheduler();
    let objectives = BTreeMap::from([("batch".to_owned(), -1)]);
    feed(&mut scheduler, 0, [upsert(0), Input::Objectives(objectives), report(0, 50)]);
    let with = |objective: &str| {
        let Input::Asked(mut asked) = ask(9, 7, 1) else { unreachable!() };
        asked.request.objective = Some(objective.to_owned());
        Input::Asked(asked)
    };
    let answers = feed(&mut scheduler, 10, [with("batch"), with("chat")]);
    assert!(answers[0].is_none() && answers[1].is_some());
}

/// One random input, small enough to shrink well.
#[derive(Clone, Debug)]
enum Step {
    Come(u16),
    Go(u16),
    Report(u16, u32),
    Unreachable(u16),
    Ask(u64, u64),
    Served(u64, u16),
    FirstToken(u64),
    Finish(u64),
    Tick(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..5u16).prop_map(Step::Come),
        (0..5u16).prop_map(Step::Go),
        (0..5u16, 0..20u32).prop_map(|(n, waiting)| Step::Report(n, waiting)),
        (0..5u16).prop_map(Step::Unreachable),
        (0..6u64, 0..30u64).prop_map(|(prompt, blocks)| Step::Ask(prompt, blocks)),
        (0..6u64, 0..5u16).prop_map(|(prompt, n)| Step::Served(prompt, n)),
        (0..40u64).prop_map(Step::FirstToken),
        (0..40u64).prop_map(Step::Finish),
        (0..30_000u64).prop_map(Step::Tick),
    ];
    proptest::collection::vec(step, 0..120)
}

fn play(steps: &[Step]) -> (Scheduler, Vec<Option<EndpointId>>, u64) {
    let (mut scheduler, mut answers, mut now, mut tickets) = (scheduler(), Vec::new(), 0, 0);
    for step in steps {
        now += 7;
        let input = match step.clone() {
            Step::Come(n) => upsert(n),
            Step::Go(n) => Input::Discovered(vec![EndpointChange::Remove(id(n))]),
            Step::Report(n, waiting) => report(n, waiting),
            Step::Unreachable(n) => Input::Unreachable(id(n)),
            Step::Ask(prompt, blocks) => {
                tickets += 1;
                ask(tickets, prompt, blocks)
            }
            Step::Served(ticket, n) => Input::TicketUpdate(Ticket(ticket), News::Served(address(n))),
            Step::FirstToken(ticket) => Input::TicketUpdate(Ticket(ticket), News::FirstToken),
            Step::Finish(ticket) => Input::TicketUpdate(Ticket(ticket), News::Finished(Outcome::Completed)),
            Step::Tick(later) => {
                now += later;
                Input::Tick
            }
        };
        answers.extend(feed(&mut scheduler, now, [input]));
        let balance = scheduler.summary(Timestamp::ZERO).tickets;
        assert_eq!(balance.reserved, balance.closed + balance.expired + balance.open);
    }
    (scheduler, answers, now)
}

proptest! {
    #[test]
    fn tickets_balance_and_nothing_stays_in_flight_at_rest(steps in steps()) {
        let (mut scheduler, _, now) = play(&steps);
        let open = scheduler.summary(Timestamp::ZERO).tickets.open;
        prop_assert!(in_flight(&scheduler).iter().map(|load| u64::from(load.requests)).sum::<u64>() <= open);
        feed(&mut scheduler, now + 120_000, [Input::Tick]);
        prop_assert_eq!(scheduler.summary(Timestamp::ZERO).tickets.open, 0);
        prop_assert!(in_flight(&scheduler).iter().all(|load| *load == InFlight::default()));
    }

    #[test]
    fn two_schedulers_with_the_same_inputs_answer_the_same(steps in steps()) {
        let ((a, answers_a, _), (b, answers_b, _)) = (play(&steps), play(&steps));
        prop_assert_eq!(answers_a, answers_b);
        let at = Timestamp::from_millis(1);
        prop_assert_eq!(a.summary(at), b.summary(at));
    }
}

#[path = "replication_tests.rs"]
mod replication;

#[path = "churn_tests.rs"]
mod churn;
