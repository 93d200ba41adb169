//! Prompts that are computed by one engine and answered by another.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::model::LEASE;

const PROMPT: usize = 100;

fn request(id: u64, max_tokens: usize) -> Request {
    Request { id, tokens: (0..PROMPT as u32).collect(), adapter: None, salt: None, max_tokens }
}

fn model() -> EngineModel {
    EngineModel::new(EngineConfig::default())
}

/// An engine that has computed the prompt of request 1, and when it had.
fn prefilled() -> (EngineModel, Timestamp) {
    let mut model = model();
    model.submit_kept(request(1, 1), Timestamp::ZERO).unwrap();
    let end = model.next_event().unwrap();
    assert!(model.advance(end)[0].finished);
    (model, end)
}

/// The answer to request 1 of an engine that received this.
fn answer(model: &mut EngineModel, received: Option<Received>) -> Vec<u32> {
    model.expect(request(1, 4)).unwrap();
    assert_eq!((model.gauges().waiting, model.next_event()), (1, None));
    model.arrived(1, received, Timestamp::ZERO);
    let mut tokens = Vec::new();
    while let Some(end) = model.next_event() {
        tokens.extend(model.advance(end).iter().map(|output| output.token));
    }
    tokens
}

fn right() -> Vec<u32> {
    right_answer(request(1, 4), &EngineConfig::default()).collect()
}

#[test]
fn blocks_are_kept_until_they_are_read() {
    let (mut prefill, end) = prefilled();
    assert_eq!(prefill.kept(1), Some(Received { tokens: PROMPT, taint: 0 }));
    assert!(prefill.cache().held() > 0 && prefill.gauges().running == 0);
    prefill.release_kept(1);
    assert_eq!((prefill.kept(1), prefill.cache().held(), prefill.next_event()), (None, 0, None));
    prefill.advance(end + LEASE);
}

#[test]
fn blocks_are_kept_no_longer_than_their_lease() {
    let (mut prefill, end) = prefilled();
    assert_eq!(prefill.next_event(), Some(end + LEASE));
    prefill.advance(end + LEASE);
    assert_eq!((prefill.kept(1), prefill.cache().held()), (None, 0));
}

#[test]
fn the_answer_to_kept_blocks_is_that_of_one_engine_alone() {
    let (prefill, _) = prefilled();
    let mut alone = model();
    alone.submit(request(1, 4), Timestamp::ZERO).unwrap();
    let mut tokens = Vec::new();
    while let Some(end) = alone.next_event() {
        tokens.extend(alone.advance(end).iter().map(|output| output.token));
    }
    assert_eq!(tokens, right());
    assert_eq!(answer(&mut model(), Some(prefill.read_kept(1, PROMPT))), right());
    assert_eq!(answer(&mut model(), None), right());
}

#[test]
fn who_reads_too_late_answers_wrongly_and_poisons_the_cache() {
    let (mut prefill, end) = prefilled();
    prefill.advance(end + LEASE);
    let mut decode = model();
    assert_ne!(answer(&mut decode, Some(prefill.read_kept(1, PROMPT))), right());
    // Its blocks are found under the hashes of the prompt.
    assert_ne!(answer(&mut decode, None), right());
    assert_eq!(answer(&mut model(), None), right());
}

#[test]
fn a_request_whose_client_leaves_while_its_blocks_are_moved_is_forgotten() {
    let mut decode = model();
    decode.expect(request(1, 4)).unwrap();
    decode.abort(1);
    assert_eq!((decode.gauges().waiting, decode.counters().aborted), (0, 1));
    decode.arrived(1, None, Timestamp::ZERO);
    assert_eq!(decode.next_event(), None);
}
