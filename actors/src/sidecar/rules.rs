//! The rules of `nixlv2` without sockets: which prefill engine is next, what each leg is asked, and what is handed over.
//!
//! For who runs legs in virtual time (the simulation). Pure functions, the same as `legs/` calls.

use std::time::Duration;

use super::api::Api;
use super::attempts::{self, Attempt};
use super::connector::nixl;
use super::fields::Fields;

/// The attempts of one request at the prefill engines of its list.
#[derive(Clone, Debug)]
pub struct Attempts {
    attempts: attempts::Attempts,
    last: Option<Attempt>,
}

/// The decode leg of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeLeg {
    /// Its body.
    pub body: String,
    /// Whether it tells the engine where blocks are; else the engine computes the prompt.
    pub hands_over: bool,
    /// The label `result` of `murmuration_sidecar_handoffs_total`.
    pub result: &'static str,
}

// === impl Attempts ===

impl Attempts {
    /// Attempts at `targets` engines, the first of the list first, with `retries` further ones.
    pub fn new(targets: usize, retries: u32) -> Self {
        Self { attempts: attempts::Attempts::new(targets, 0, retries), last: None }
    }

    /// The place in the list of the engine that is asked next; `None` when there is none left. The one before failed, in
    /// a way that may pass.
    pub fn next_target(&mut self) -> Option<usize> {
        if let Some(last) = self.last {
            self.attempts.failed(last, true);
        }
        self.last = self.attempts.next();
        self.last.map(|attempt| attempt.target)
    }
}

/// The prefill leg of a completion.
///
/// # Errors
/// One sentence, if the request is no JSON object.
pub fn prefill_leg(request: &[u8]) -> Result<String, String> {
    Ok(nixl::prefill_body(&Fields::read(request)?, Api::Completions, None))
}

/// The decode leg of a completion, after a prefill engine gave this answer. Its age is counted from the last moment at
/// which it had not come; `age_max` is `--handoff-timeout`.
///
/// # Errors
/// One sentence, if the request is no JSON object.
pub fn decode_leg(request: &[u8], answer: &[u8], age: Duration, age_max: Duration) -> Result<DecodeLeg, String> {
    let fields = Fields::read(request)?;
    let (params, result) = nixl::read_answer(answer).hand_off(false, nixl::is_late(age, age_max));
    let body = nixl::decode_body(&fields, params.as_deref());
    Ok(DecodeLeg { body, hands_over: params.is_some(), result })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = br#"{"model":"m","max_tokens":40,"prompt":"p"}"#;
    const ANSWER: &[u8] = br#"{"kv_transfer_params":{"do_remote_prefill":true,"remote_engine_id":"e","remote_block_ids":[1],"remote_host":"h","remote_port":5600}}"#;

    #[test]
    fn a_hand_off_is_used_up_to_its_age() {
        let leg = |ms| {
            let (age, age_max) = (Duration::from_millis(ms), Duration::from_millis(1_000));
            decode_leg(REQUEST, ANSWER, age, age_max).unwrap()
        };
        let (young, late) = (leg(1_000), leg(1_001));
        assert_eq!((young.hands_over, young.result, late.hands_over, late.result), (true, "ok", false, "stale"));
        assert!(young.body.contains("remote_engine_id") && !late.body.contains("remote_engine_id"));
    }

    #[test]
    fn the_prefill_leg_asks_for_one_token() {
        let leg = prefill_leg(REQUEST).unwrap();
        assert!(leg.contains(r#""max_tokens":1"#) && leg.contains(r#""do_remote_decode":true"#), "{leg}");
        assert!(prefill_leg(b"[").is_err());
    }

    #[test]
    fn each_engine_is_asked_once_and_then_again_as_often_as_allowed() {
        let mut attempts = Attempts::new(2, 1);
        let asked: Vec<Option<usize>> = (0..4).map(|_| attempts.next_target()).collect();
        assert_eq!(asked, [Some(0), Some(1), Some(0), None]);
    }
}
