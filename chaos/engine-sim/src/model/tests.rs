//! Tests of the engine model: order of tokens, cache hits, evictions, bounds, aborts.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

fn request(id: u64, first: u32, prompt: usize, max_tokens: usize) -> Request {
    let tokens = (0..prompt as u32).map(|i| first * 100_000 + i).collect();
    Request { id, tokens, adapter: None, salt: None, max_tokens }
}

fn run_dry(model: &mut EngineModel) -> Vec<Output> {
    let mut outputs = Vec::new();
    while let Some(at) = model.next_event() {
        outputs.extend(model.advance(at));
    }
    outputs
}

fn cached(outputs: &[Output], id: u64) -> usize {
    outputs.iter().find(|output| output.id == id).unwrap().cached_tokens
}

#[test]
fn a_request_outputs_its_tokens_in_order_and_ends() {
    let mut model = EngineModel::new(EngineConfig::default());
    model.submit(request(1, 1, 100, 5), Timestamp::ZERO).unwrap();
    let outputs = run_dry(&mut model);
    assert_eq!(outputs.iter().map(|output| output.index).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert!(outputs[4].finished && !outputs[3].finished);
    assert_eq!(model.gauges(), Gauges::default());
}

#[test]
fn a_prompt_seen_before_is_found_and_its_last_token_is_computed_anyway() {
    let mut model = EngineModel::new(EngineConfig::default());
    model.submit(request(1, 1, 160, 1), Timestamp::ZERO).unwrap();
    assert_eq!(cached(&run_dry(&mut model), 1), 0);
    model.submit(request(2, 1, 160, 1), Timestamp::from_millis(500)).unwrap();
    assert_eq!(cached(&run_dry(&mut model), 2), 144);
    let counters = model.counters();
    assert_eq!((counters.prefix_queries, counters.prefix_hits), (320, 144));
}

#[test]
fn an_answer_is_cached_for_the_next_turns_prompt() {
    let mut model = EngineModel::new(EngineConfig::default());
    // The KV of the last token is not computed.
    model.submit(request(1, 1, 32, 33), Timestamp::ZERO).unwrap();
    let answer: Vec<u32> = run_dry(&mut model).iter().map(|output| output.token).collect();
    let mut next = request(2, 1, 32, 1);
    next.tokens.extend(answer);
    next.tokens.push(9);
    model.submit(next, Timestamp::from_millis(900)).unwrap();
    assert_eq!(cached(&run_dry(&mut model), 2), 64);
}

#[test]
fn the_tail_of_the_oldest_chain_is_evicted_first() {
    let mut model = EngineModel::new(EngineConfig { blocks: 13, ..EngineConfig::default() });
    for (id, first) in [(1, 1), (2, 2)] {
        model.submit(request(id, first, 80, 1), Timestamp::from_millis(id * 100)).unwrap();
        run_dry(&mut model);
    }
    // Ten blocks are idle. The request needs four, and two are free, so the oldest chain loses its last two.
    model.submit(request(3, 3, 64, 1), Timestamp::from_millis(400)).unwrap();
    run_dry(&mut model);
    let kept = |first| model.cached_tokens(&request(9, first, 80, 1).tokens, None, None);
    assert_eq!((kept(1), kept(2)), (48, 80));
}

#[test]
fn a_full_queue_rejects_requests() {
    let config = EngineConfig { max_num_seqs: 1, max_num_queued: Some(1), ..EngineConfig::default() };
    let mut model = EngineModel::new(config);
    assert!(model.submit(request(1, 1, 10, 5), Timestamp::ZERO).is_ok());
    assert!(model.submit(request(2, 2, 10, 5), Timestamp::ZERO).is_ok());
    assert_eq!(model.submit(request(3, 3, 10, 5), Timestamp::ZERO), Err(Busy));
}

#[test]
fn a_long_prompt_is_computed_in_chunks_beside_the_answers_of_others() {
    let config = EngineConfig { max_num_batched_tokens: 100, ..EngineConfig::default() };
    let mut model = EngineModel::new(config);
    model.submit(request(1, 1, 50, 9), Timestamp::ZERO).unwrap();
    let first = model.next_event().unwrap();
    model.submit(request(2, 2, 250, 1), Timestamp::ZERO).unwrap();
    model.advance(first);
    // The answer takes one token of each step, the prompt what is left of it.
    let mut shares = Vec::new();
    while model.gauges().running == 2 {
        shares.push(model.step_tokens());
        model.advance(model.next_event().unwrap());
    }
    assert_eq!(shares, [100, 100, 53]);
}

#[test]
fn a_step_takes_longer_the_more_was_computed_before() {
    let config = EngineConfig {
        attention_ns: 100.0,
        context_ns: 1000.0,
        max_num_batched_tokens: 1000,
        ..EngineConfig::default()
    };
    let mut model = EngineModel::new(config);
    model.submit(request(1, 1, 2000, 3), Timestamp::ZERO).unwrap();
    let mut ends = vec![Timestamp::ZERO];
    while let Some(end) = model.next_event() {
        ends.push(end);
        model.advance(end);
    }
    let spans: Vec<u128> = ends.windows(2).map(|pair| pair[1].since(pair[0]).as_micros()).collect();
    // 4 ms for a step, 25 ms for 1,000 tokens; 1,000 x 500 x 0.1 us and 1,000 x 1,500 x 0.1 us of attention; then an
    // answer (0.1 ms) with 2,000 and 2,001 tokens of context, 1 us each.
    assert_eq!(spans, [79_000, 179_000, 6_100, 6_101]);
}

#[test]
fn without_blocks_the_last_request_gives_its_own_up_and_is_computed_again() {
    // Each needs 4 blocks at first and 8 in the end; there are 12.
    let config = EngineConfig { blocks: 12, prefix_caching: false, ..EngineConfig::default() };
    let mut model = EngineModel::new(config);
    for id in 1..=2 {
        model.submit(request(id, id as u32, 60, 60), Timestamp::ZERO).unwrap();
    }
    let outputs = run_dry(&mut model);
    let order = |id| outputs.iter().filter(|o| o.id == id).map(|o| o.index).collect::<Vec<_>>();
    assert_eq!((order(1), order(2)), ((0..60).collect(), (0..60).collect()), "no token is repeated or lost");
    let last = |id| outputs.iter().rfind(|output| output.id == id).unwrap();
    assert_eq!((last(1).preemptions, last(2).preemptions, model.counters().preemptions), (0, 1, 1));
    assert!(last(1).at < last(2).at);
    assert_eq!((model.cache().held(), model.counters().prompt_tokens), (0, 120));
}

#[test]
fn a_request_that_is_larger_than_the_cache_is_served_alone() {
    let mut model = EngineModel::new(EngineConfig { blocks: 4, ..EngineConfig::default() });
    for id in 1..=2 {
        model.submit(request(id, id as u32, 100, 5), Timestamp::ZERO).unwrap();
    }
    assert_eq!(run_dry(&mut model).len(), 10);
}

#[test]
fn a_request_whose_adapter_finds_no_slot_holds_nobody_up() {
    let mut model = EngineModel::new(EngineConfig { max_loras: 1, ..EngineConfig::default() });
    for (id, adapter) in [(1, Some("a")), (2, Some("b")), (3, None)] {
        let asked = Request { adapter: adapter.map(str::to_owned), ..request(id, 1, 10, 3) };
        model.submit(asked, Timestamp::ZERO).unwrap();
    }
    model.advance(model.next_event().unwrap());
    assert_eq!((model.gauges().running, model.gauges().waiting), (2, 1));
    assert_eq!(model.gauges().waiting_adapters, ["a", "b"]);
}

#[test]
fn running_adapters_are_bounded() {
    let mut model = EngineModel::new(EngineConfig { max_loras: 1, ..EngineConfig::default() });
    for (id, adapter) in [(1, "a"), (2, "b")] {
        let asked = Request { adapter: Some(adapter.to_owned()), ..request(id, 1, 10, 3) };
        model.submit(asked, Timestamp::ZERO).unwrap();
    }
    let gauges = model.gauges();
    assert_eq!((gauges.running_adapters.len(), gauges.waiting), (1, 1));
    assert_eq!(run_dry(&mut model).len(), 6);
}

#[test]
fn an_aborted_request_frees_its_blocks() {
    let mut model = EngineModel::new(EngineConfig::default());
    model.submit(request(1, 1, 1000, 100), Timestamp::ZERO).unwrap();
    assert!(model.gauges().kv_usage > 0.0);
    model.abort(1);
    assert_eq!((model.gauges(), model.counters().aborted), (Gauges::default(), 1));
}

proptest! {
    #[test]
    fn blocks_are_never_lost_and_all_requests_end(
        steps in proptest::collection::vec((0u8..4, 0u32..4, 1usize..120, 1usize..30), 1..40),
    ) {
        let config = EngineConfig { blocks: 24, max_num_seqs: 3, ..EngineConfig::default() };
        let (mut model, mut twin) = (EngineModel::new(config.clone()), EngineModel::new(config));
        for (id, (what, first, prompt, max_tokens)) in steps.into_iter().enumerate() {
            let now = Timestamp::from_millis(id as u64 * 7);
            for model in [&mut model, &mut twin] {
                match what {
                    0 => model.abort(id as u64 / 2),
                    _ => model.submit(request(id as u64, first, prompt, max_tokens), now).unwrap(),
                }
            }
            prop_assert_eq!(model.advance(now), twin.advance(now));
            prop_assert!(model.cache().held() + model.cache().idle() <= 24);
        }
        run_dry(&mut model);
        prop_assert_eq!(model.gauges(), Gauges::default());
        prop_assert_eq!(model.cache().held(), 0);
    }
}

#[test]
fn a_prompt_that_another_engine_computed_is_answered_after_one_step_and_found_later() {
    let first = |received: usize| {
        let mut model = EngineModel::new(EngineConfig::default());
        let asked = request(1, 1, 4_000, 3);
        model.receive(asked.clone(), received, Timestamp::ZERO).unwrap();
        let mut outputs = Vec::new();
        while let Some(end) = model.next_event() {
            outputs.extend(model.advance(end));
        }
        let tokens: Vec<u32> = outputs.iter().map(|output| output.token).collect();
        assert_eq!(outputs[0].cached_tokens, 0, "it was not in this cache");
        (outputs[0].at, tokens, model.cached_tokens(&asked.tokens, None, None))
    };
    let (computed, received) = (first(0), first(4_000));
    assert!(received.0 < computed.0, "{:?} and {:?}", received.0, computed.0);
    assert_eq!(received.1, computed.1, "the answer is the same");
    assert_eq!(received.2, computed.2, "its blocks are shared as any others");
}
