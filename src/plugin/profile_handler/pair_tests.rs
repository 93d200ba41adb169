//! Tests of what the handler chooses, and of its price.

#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::fleet::endpoint::ROLE_LABEL;
use crate::fleet::{Endpoint, InFlight};
use crate::plugin::parameters;
use crate::plugin::testing::{endpoint, request, rows};
use crate::prefix::PrefixMatch;
use crate::request::InferenceRequest;
use crate::schedule::pair::PairTerms;

const ZONE: &str = "topology.kubernetes.io/zone";

fn handler(json: &str) -> Result<PairProfileHandler, String> {
    let value = serde_json::from_str(json).unwrap();
    PairProfileHandler::build(parameters::read(&value).map_err(|fault| fault.sentence)?)
}

/// Endpoints by name, role and zone.
fn pool(of: &[(&str, &str, &str)]) -> Vec<Endpoint> {
    of.iter().map(|(name, role, zone)| endpoint(name, &[(ROLE_LABEL, role), (ZONE, zone)])).collect()
}

fn two_and_two() -> Vec<Endpoint> {
    pool(&[("d1", "decode", "a"), ("d2", "decode", "b"), ("p1", "prefill", "a"), ("p2", "prefill", "b")])
}

/// What is chosen for a request of `blocks` blocks of 64 tokens.
fn chosen(rows: &[Candidate<'_>], request: &InferenceRequest, before: usize) -> (String, Vec<String>, Paired) {
    let decoders: Vec<_> = rows.iter().filter(|row| row.stages.decode).copied().collect();
    let prefillers: Vec<_> = rows.iter().filter(|row| row.stages.prefill).copied().collect();
    let ask = Ask { before, ..Ask::sure(request) };
    let paired = handler("{}").unwrap().pair(&ask, &decoders, &prefillers).unwrap();
    let prefill = paired.prefill.iter().map(|(at, _)| prefillers[*at].endpoint.id.name().to_owned()).collect();
    (decoders[paired.decode].endpoint.id.name().to_owned(), prefill, paired)
}

/// The same with the rows of four idle endpoints, changed.
fn choice(blocks: usize, change: impl Fn(&mut [Candidate<'_>])) -> (String, Vec<String>) {
    let endpoints = two_and_two();
    let mut rows = rows(&endpoints);
    change(&mut rows);
    let (decode, prefill, _) = chosen(&rows, &request(1, blocks), 0);
    (decode, prefill)
}

fn answering(requests: u32) -> InFlight {
    InFlight { requests, ..InFlight::default() }
}

fn waiting(prefills: u32, prefill_tokens: u64) -> InFlight {
    InFlight { requests: prefills, prefills, prefill_tokens, ..InFlight::default() }
}

fn hold(row: &mut Candidate<'_>, blocks: u32, of: u32) {
    row.matched = PrefixMatch { blocks, of };
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn an_idle_pool_computes_where_it_decodes_and_a_busy_one_apart() {
    let (_, prefill) = choice(100, |_| ());
    assert!(prefill.is_empty(), "6,400 tokens cost 6,400 anywhere, and a pair the transfer too");
    let busy = |rows: &mut [Candidate<'_>]| rows[..2].iter_mut().for_each(|row| row.in_flight = answering(8));
    let (decode, prefill) = choice(100, busy);
    let near = if decode == "d1" { ["p1", "p2"] } else { ["p2", "p1"] };
    assert_eq!(prefill, names(&near), "from its own zone; the other one may stand in");
    assert!(choice(1, busy).1.is_empty(), "64 tokens are not worth a hand-over");
}

#[test]
fn the_prompt_is_computed_where_its_beginning_lies() {
    let busy = |rows: &mut [Candidate<'_>]| rows[..2].iter_mut().for_each(|row| row.in_flight = answering(8));
    let on_decode = choice(100, |rows| {
        busy(rows);
        hold(&mut rows[1], 99, 100);
    });
    assert_eq!(on_decode, ("d2".to_owned(), Vec::new()), "64 tokens are left");
    let on_prefill = choice(100, |rows| {
        busy(rows);
        hold(&mut rows[3], 90, 100);
    });
    assert_eq!(on_prefill.1[0], "p2");
    let on_both = choice(100, |rows| {
        busy(rows);
        hold(&mut rows[0], 50, 100);
        hold(&mut rows[2], 90, 100);
    });
    assert_eq!(on_both, ("d1".to_owned(), names(&["p1", "p2"])), "half of it need not be moved");
}

#[test]
fn queues_zones_and_room_count() {
    let busy = |rows: &mut [Candidate<'_>]| rows[..2].iter_mut().for_each(|row| row.in_flight = answering(20));
    let queued = choice(100, |rows| {
        busy(rows);
        rows[2].in_flight = waiting(4, 40_000);
    });
    assert_eq!((queued.0.as_str(), queued.1[0].as_str()), ("d2", "p2"), "the queue, and then its zone");
    let full = choice(100, |rows| {
        busy(rows);
        for (row, usage) in rows[..2].iter_mut().zip([0.99, 0.5]) {
            (row.kv_tokens, row.kv_usage) = (Some(100_000), usage);
        }
    });
    assert_eq!(full.0, "d2", "the other one has room for 1,000 tokens");
    let answers = choice(100, |rows| {
        busy(rows);
        rows[0].in_flight = answering(30);
    });
    assert_eq!(answers.0, "d2");
}

#[test]
fn the_answer_comes_from_the_caller_s_zone_where_that_is_known() {
    let endpoints = two_and_two();
    let mut rows = rows(&endpoints);
    let decode = |rows: &[Candidate<'_>], zone: Option<&str>| {
        let request = InferenceRequest { zone: zone.map(str::to_owned), ..request(1, 100) };
        let (decode, _, paired) = chosen(rows, &request, 0);
        (decode, paired.explanation.rows.iter().map(|row| row.terms.far).fold(0.0, f64::max))
    };
    assert_eq!(decode(&rows, Some("a")), ("d1".to_owned(), 100.0));
    assert_eq!(decode(&rows, Some("b")), ("d2".to_owned(), 100.0));
    assert_eq!(decode(&rows, None).1, 0.0);
    // Two answers more cost 120 tokens beside them, and hold up the prompt.
    rows[0].in_flight = answering(2);
    assert_eq!(decode(&rows, Some("a")).0, "d2");
}

#[test]
fn an_endpoint_of_both_roles_is_no_pair_with_itself() {
    let endpoints = pool(&[("x", "both", "a")]);
    let mut rows = rows(&endpoints);
    rows[0].in_flight = answering(50);
    let (decode, prefill, paired) = chosen(&rows, &request(1, 100), 0);
    assert_eq!((decode.as_str(), prefill.len()), ("x", 0));
    assert!(paired.reason.contains("no endpoint may prefill"), "{}", paired.reason);
    assert!(handler("{}").unwrap().pair(&Ask::sure(&request(1, 1)), &[], &rows).is_none(), "nobody decodes");
}

/// The numbers of docs/pd.md.
#[test]
fn each_term_is_what_the_formula_says() {
    let endpoints = two_and_two();
    let mut rows = rows(&endpoints);
    rows[0].in_flight = InFlight { incoming_tokens: 4_000, ..answering(10) };
    rows[1].in_flight = InFlight { requests: 31, prefills: 1, prefill_tokens: 500, ..InFlight::default() };
    (rows[0].kv_tokens, rows[0].kv_usage) = (Some(100_000), 0.4);
    (rows[1].kv_tokens, rows[1].kv_usage) = (Some(100_000), 0.95);
    rows[2].in_flight = waiting(2, 3_000);
    hold(&mut rows[0], 25, 100);
    hold(&mut rows[3], 50, 100);
    let (decode, prefill, paired) = chosen(&rows, &request(1, 100), 0);
    let of = |decode: &str, prefill: Option<&str>| -> PairTerms {
        let found = paired
            .explanation
            .rows
            .iter()
            .find(|row| row.decode.name() == decode && row.prefill.as_ref().map(|id| id.name()) == prefill);
        found.unwrap_or_else(|| panic!("{:?}", paired.explanation.rows)).terms
    };
    let close = |one: f64, other: f64| assert!((one - other).abs() < 0.01, "{one} and {other}");
    // d1 alone: 4,800 tokens at 1 + 0.5 + 0.2 x 10, 4,000 deep in the mean; 10 answers; 40,000 tokens of context.
    let alone = of("d1", None);
    close(alone.price, 3.5 * 1.4);
    close(alone.cost, 4_800.0 * 4.9 + 600.0 + 2_000.0);
    // p2 for d1: half of the prompt at 1 + 1, 4,800 deep; 4,800 tokens from another zone at 1.31072 each. The 4,000 that
    // are on their way to d1 take 5,243 tokens of time, and the prompt 1,500 + 4,800.
    let pair = of("d1", Some("p2"));
    close(pair.move_price, 1.310_72);
    close(pair.link, 0.0);
    close(pair.cost, 3_200.0 * 2.96 + 200.0 + 4_800.0 * 1.310_72 + 600.0 + 2_000.0);
    // p1 for d1, which is near, waits for 3,000 tokens and costs 16,896 more: no better.
    assert_eq!((decode.as_str(), prefill[0].as_str()), ("d1", "p2"));
    // d2 has 5,000 tokens left, and 500 that wait there.
    let short = of("d2", Some("p2"));
    close(short.short, 6_400.0 + 500.0 - 5_000.0);
    close(short.between, 100.0);
    for row in &paired.explanation.rows {
        let t = row.terms;
        let prompt = t.waiting + t.uncached * t.price + t.hand_off + t.moved * t.move_price + t.link;
        close(prompt + t.between + t.answers + t.context + t.short + t.far, t.cost);
    }
    assert!(paired.reason.starts_with("prefill on default/p2 for default/d1 costs"), "{}", paired.reason);
    assert!(paired.reason.contains("default/d1 alone costs 26120"), "{}", paired.reason);
}

#[test]
fn who_comes_later_waits_for_the_transfers_before_it() {
    let endpoints = two_and_two();
    let mut rows = rows(&endpoints);
    (rows[0].in_flight, rows[1].in_flight) = (answering(40), answering(50));
    // Of each endpoint that decodes, with `incoming` tokens on their way to d1.
    let mut links = |incoming: u64| {
        rows[0].in_flight.incoming_tokens = incoming;
        let (decode, .., paired) = chosen(&rows, &request(1, 100), 0);
        let pairs = paired.explanation.rows.iter().filter(|row| row.prefill.is_some());
        let link: Vec<f64> = ["d1", "d2"]
            .iter()
            .map(|name| pairs.clone().find(|row| row.decode.name() == *name).unwrap().terms.link)
            .collect();
        (decode, link)
    };
    assert_eq!(
        links(40_000),
        ("d1".to_owned(), vec![0.0, 0.0]),
        "over in the time of 5,243 tokens; the prompt has 6,400"
    );
    let wait = 400_000.0 * 0.131_072 - 6_400.0;
    let (decode, link) = links(400_000);
    assert_eq!(decode, "d2");
    assert!((link[0] - 1.5 * wait).abs() < 0.01, "its own, and the mean for those behind it: {link:?}");
    assert!((link[1] - 0.5 * wait).abs() < 0.01, "{link:?}");
}

#[test]
fn others_of_a_crowd_are_placed_first() {
    let endpoints = two_and_two();
    let mut rows = rows(&endpoints);
    rows[..2].iter_mut().for_each(|row| row.in_flight = answering(40));
    let request = request(1, 100);
    let of = |before| chosen(&rows, &request, before).1[0].clone();
    assert_ne!(of(0), of(1), "the other prefill endpoint has a shorter queue by now");
    assert_eq!(of(0), of(2));
}

#[test]
fn parameters_out_of_range_are_refused_by_name() {
    for (json, name) in [
        (r#"{"answerWeight": -1}"#, "answerWeight"),
        (r#"{"sameZoneGigabytesPerSecond": 0}"#, "sameZoneGigabytesPerSecond"),
        (r#"{"otherZoneGigabytesPerSecond": -3}"#, "otherZoneGigabytesPerSecond"),
        (r#"{"prefillTokensPerSecond": 0}"#, "prefillTokensPerSecond"),
        (r#"{"handOffMs": -1}"#, "handOffMs"),
        (r#"{"otherZoneTokens": -1}"#, "otherZoneTokens"),
        (r#"{"prefillEndpoints": 0}"#, "prefillEndpoints"),
        (r#"{"prefillEndpoints": 17}"#, "prefillEndpoints"),
        (r#"{"profiles": {"prefill": "decode"}}"#, "three profiles"),
    ] {
        assert!(handler(json).unwrap_err().contains(name), "{json}");
    }
    let media = handler(r#"{"deciders": {"encode": "media"}}"#).unwrap();
    assert_eq!(media.deciders(), ["media"]);
    assert_eq!(media.runs(), Runs::Named { required: vec!["decode", "prefill"], optional: vec!["encode"] });
}

/// An endpoint's role, zone, answers, prompts that wait, tokens of each, what it holds, its KV use in percent, and tokens
/// on their way to it.
type Drawn = (usize, usize, u32, u32, u64, u32, u32, u64);

fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
    vec((0..3_usize, 0..3_usize, 0..40_u32, 0..4_u32, 0..3_000_u64, 0..50_u32, 0..100_u32, 0..60_000_u64), 1..14)
}

/// The cost of each way by the formula, without any search.
fn brute(rows: &[Candidate<'_>], prompt: f64, caller: Option<&str>) -> Vec<f64> {
    let (w, of_zone) =
        (0.2, |row: &Candidate<'_>| row.endpoint.labels.get(ZONE).cloned().filter(|zone| !zone.is_empty()));
    let uncached = |row: &Candidate<'_>| prompt - 64.0 * f64::from(row.matched.blocks);
    let queue = |rows: &[&Candidate<'_>]| {
        rows.iter().map(|row| f64::from(row.in_flight.prefills)).sum::<f64>() / rows.len().max(1) as f64
    };
    let decoders: Vec<_> = rows.iter().filter(|row| row.stages.decode).collect();
    let prefillers: Vec<_> = rows.iter().filter(|row| row.stages.prefill).collect();
    let (local, remote) = (queue(&decoders), queue(&prefillers));
    let compute = |row: &Candidate<'_>| uncached(row) * (1.0 + (prompt - uncached(row) / 2.0) / 10_000.0);
    let waiting = prefillers.iter().map(|row| row.in_flight.prefill_tokens as f64).sum::<f64>();
    let link = |d: &Candidate<'_>, price: f64| {
        let until = waiting / prefillers.len().max(1) as f64 + uncached(d);
        (d.in_flight.incoming_tokens as f64 * price - until).max(0.0)
    };
    let links = |price: f64| decoders.iter().map(|d| link(d, price)).sum::<f64>() / decoders.len() as f64;
    let mut costs = Vec::new();
    for d in &decoders {
        let waits = d.in_flight.prefill_tokens as f64;
        let room = d.kv_tokens.map_or(f64::INFINITY, |tokens| tokens as f64 * (1.0 - d.kv_usage));
        let answer = 60.0 * f64::from(d.in_flight.requests)
            + 0.05 * d.kv_usage * d.kv_tokens.unwrap_or(0) as f64
            + (prompt + waits - room).max(0.0)
            + of_zone(d).zip(caller).map_or(0.0, |(own, caller)| if own == caller { 0.0 } else { 100.0 });
        costs.push(waits + compute(d) * (1.0 + local + w * f64::from(d.in_flight.requests)) + answer);
        for p in prefillers.iter().filter(|p| p.endpoint.id != d.endpoint.id) {
            let near = of_zone(p).is_none() || of_zone(d).is_none() || of_zone(p) == of_zone(d);
            let answers = f64::from(p.in_flight.requests - p.in_flight.prefills);
            let computed = p.in_flight.prefill_tokens as f64 + compute(p) * (1.0 + remote + w * answers);
            let price = if near { 0.131_072 } else { 1.310_72 };
            let moved = uncached(d) * price + link(d, price) + links(price);
            costs.push(computed + 200.0 + moved + w * waits + answer);
        }
    }
    costs
}

proptest! {
    /// The cheapest of all ways is chosen, and again the same.
    #[test]
    fn the_choice_is_the_cheapest_by_brute_force(
        of in drawn(), blocks in 1..60_usize, seed in 0..50_u64, caller in 0..3_usize,
    ) {
        let endpoints: Vec<Endpoint> = of.iter().enumerate().map(|(i, drawn)| {
            let role = ["decode", "prefill", "both"][drawn.0];
            endpoint(&format!("e{i:02}"), &[(ROLE_LABEL, role), (ZONE, ["", "a", "b"][drawn.1])])
        }).collect();
        let mut rows = rows(&endpoints);
        for (row, (_, _, answers, prefills, tokens, held, usage, incoming_tokens)) in rows.iter_mut().zip(of) {
            let prefill_tokens = u64::from(prefills) * tokens;
            let requests = answers + prefills;
            row.in_flight = InFlight { requests, prefills, prefill_tokens, incoming_tokens, ..InFlight::default() };
            let total = u32::try_from(blocks).unwrap();
            hold(row, held.min(total), total);
            (row.kv_tokens, row.kv_usage) = (Some(60_000).filter(|_| usage % 3 > 0), f64::from(usage) / 100.0);
        }
        prop_assume!(rows.iter().any(|row| row.stages.decode));
        let caller = [None, Some("a"), Some("c")][caller];
        let request = InferenceRequest { zone: caller.map(str::to_owned), ..request(seed, blocks) };
        let (decode, prefill, paired) = chosen(&rows, &request, 0);
        let least = brute(&rows, 64.0 * blocks as f64, caller).into_iter().fold(f64::INFINITY, f64::min);
        prop_assert!((paired.cost - least).abs() < 0.01, "{} and {least}", paired.cost);
        prop_assert_eq!(paired.explanation.rows[0].terms.cost, paired.cost);
        let (again, also, same) = chosen(&rows, &request, 0);
        prop_assert_eq!((again, also, same), (decode, prefill, paired));
    }
}
