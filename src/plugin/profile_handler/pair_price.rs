//! The price of a pair: what it costs all requests, in prompt tokens that somebody waits for, that one endpoint computes
//! a prompt and another one answers it.
//!
//! Must not know which pairs are compared (`pair_search.rs`). The currency is that of `prefill-cost-scorer`: tokens and
//! not seconds, because only the transfer is known as a time, and it is the smallest term. In seconds, all others would
//! need a measured speed of each engine, and a wrong one would move every choice.
//!
//! A prompt that `X` computes costs there `W + u (1 + Q + w R)`: the prompt tokens `W` that wait there, and the
//! uncached `u` of mine, each of which costs me 1, those behind me `Q` and each of the `R` answers there `w`. `Q` is
//! the mean number of prompts under way over the endpoints of that stage. The answer costs on `D`
//!
//! | term | tokens |
//! |---|---|
//! | `w W` | prompts that wait at `D` are computed between the steps of my answer; only where another one prefills, else I wait for them anyway |
//! | `b R` | answers beside mine, each of which makes all steps longer |
//! | `c C` | contexts in its KV cache, which each step reads |
//! | `max(0, n + W - free)` | tokens that its KV cache has no room for: as many of somebody's context are computed again |
//!
//! and a pair adds the hand-over and the transfer of what `D` does not hold.

use crate::fleet::InFlight;
use crate::schedule::Candidate;
use crate::schedule::pair::PairTerms;

/// What a token of context in an endpoint's KV cache costs, in prompt tokens: as for `prefill-cost-scorer`.
const CONTEXT_PRICE: f64 = 0.05;
/// What an open answer beside mine costs, in prompt tokens. On an H100 an 8B model's step takes 50 us longer for each
/// sequence in its batch, half a prompt token at 10,000 a second. Two answers of 300 tokens are so much longer, mine
/// and the other one, and seconds within an answer are worth a fifth: 2 x 300 x 0.5 x 0.2.
const ANSWER_PRICE: f64 = 60.0;
/// Parts of a token that costs are counted in. Sums of whole numbers are exact, so what costs the same is equal on every
/// replica.
const PARTS: f64 = 1024.0;

/// A cost in parts of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost(u64);

/// What times are worth, in prompt tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Prices {
    /// What a second within an answer is worth against one before it.
    pub(super) answer_weight: f64,
    /// The hand-over from one endpoint to the other.
    pub(super) hand_off: f64,
    /// To move a token's KV within a zone.
    pub(super) near: f64,
    /// To move it between zones.
    pub(super) far: f64,
}

/// The open work and the KV cache of an endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Prompt tokens that wait there.
    pub(super) waiting: f64,
    /// Prompts among its open requests.
    pub(super) prefills: f64,
    /// Its open requests.
    pub(super) requests: f64,
    /// Tokens in its KV cache.
    pub(super) context: f64,
    /// Tokens that there is room for; infinite where that is not known.
    pub(super) free: f64,
}

// === impl Cost ===

impl Cost {
    /// The nearest number of parts; at least 0.
    pub(super) fn of(tokens: f64) -> Self {
        // The cast saturates.
        Self((tokens * PARTS).round() as u64)
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    pub(super) fn tokens(self) -> f64 {
        self.0 as f64 / PARTS
    }
}

// === impl Load ===

impl Load {
    pub(super) fn of(row: &Candidate<'_>) -> Self {
        let InFlight { requests, prefills, prefill_tokens, .. } = row.in_flight;
        let room = row.kv_tokens.map(|tokens| tokens as f64);
        Self {
            waiting: prefill_tokens as f64,
            prefills: prefills.into(),
            requests: requests.into(),
            context: row.kv_usage * room.unwrap_or(0.0),
            free: room.map_or(f64::INFINITY, |room| room * (1.0 - row.kv_usage)),
        }
    }
}

// === impl Prices ===

impl Prices {
    /// A prompt of which `uncached` tokens are computed where the answer is.
    pub(super) fn local(&self, load: &Load, uncached: f64, queue: f64) -> PairTerms {
        let price = 1.0 + queue + self.answer_weight * load.requests;
        PairTerms { waiting: load.waiting, uncached, price, ..PairTerms::default() }
    }

    /// A prompt of which `uncached` tokens are computed for another endpoint. Requests without their first token leave
    /// after it, so they are no answers here.
    pub(super) fn remote(&self, load: &Load, uncached: f64, queue: f64) -> PairTerms {
        let answers = (load.requests - load.prefills).max(0.0);
        let price = 1.0 + queue + self.answer_weight * answers;
        PairTerms { waiting: load.waiting, uncached, price, hand_off: self.hand_off, ..PairTerms::default() }
    }

    /// An answer to a prompt of `prompt` tokens, with its KV.
    pub(super) fn answer(&self, load: &Load, prompt: f64, is_local: bool) -> PairTerms {
        PairTerms {
            between: if is_local { 0.0 } else { self.answer_weight * load.waiting },
            answers: ANSWER_PRICE * load.requests,
            context: CONTEXT_PRICE * load.context,
            short: (prompt + load.waiting - load.free).max(0.0),
            ..PairTerms::default()
        }
    }

    /// The price of moving a token.
    pub(super) fn of_move(&self, near: bool) -> f64 {
        if near { self.near } else { self.far }
    }
}

// === impl PairTerms ===

/// What computing the prompt costs.
pub(super) fn of_prompt(terms: &PairTerms) -> Cost {
    Cost::of(terms.waiting + terms.uncached * terms.price + terms.hand_off)
}

/// What the answer costs.
pub(super) fn of_answer(terms: &PairTerms) -> Cost {
    Cost::of(terms.between + terms.answers + terms.context + terms.short)
}
