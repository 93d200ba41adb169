//! The price of a pair: what it costs all requests, in prompt tokens that somebody waits for, that one endpoint computes
//! a prompt and another one answers it.
//!
//! Must not know which pairs are compared (`pair_search.rs`). The currency is that of `prefill-cost-scorer`: tokens and
//! not seconds, because only the transfer is known as a time, and it is the smallest term. In seconds, all others would
//! need a measured speed of each engine, and a wrong one would move every choice.
//!
//! A prompt that `X` computes costs there `W + u (1 + Q + w R) (1 + d / 10,000)`: the prompt tokens `W` that wait there,
//! and the uncached `u` of mine, each of which costs me 1, those behind me `Q` and each of the `R` answers there `w`. `Q`
//! is the mean number of prompts under way over the endpoints of that stage, and `d` the mean depth of the uncached
//! tokens in the prompt. The answer costs on `D`
//!
//! | term | tokens |
//! |---|---|
//! | `w W` | prompts that wait at `D` are computed between the steps of my answer; only where another one prefills, else I wait for them anyway |
//! | `b R` | answers beside mine, each of which makes all steps longer |
//! | `c C` | contexts in its KV cache, which each step reads |
//! | `max(0, n + W - free)` | tokens that its KV cache has no room for: as many of somebody's context are computed again |
//! | `Z` | the way, where the caller is known to be in another zone |
//!
//! and a pair adds the hand-over and the transfer of what `D` does not hold. Transfers to one endpoint follow each
//! other: `m I` is what those on their way to `D` take, `I` tokens at the price `m` of this pair's distance. They go on
//! while this prompt is computed, so what is left of them when it is done is waited for: `max(0, m I - T)`. `T` is the
//! time until then, the mean over the prefill endpoints of what waits there, and `u`. As with prompts, those behind me
//! wait for me too: what is left at an endpoint in the mean counts once more.

use crate::fleet::InFlight;
use crate::schedule::Candidate;
use crate::schedule::pair::PairTerms;

/// What a token of context in an endpoint's KV cache costs, in prompt tokens: as for `prefill-cost-scorer`.
const CONTEXT_PRICE: f64 = 0.05;
/// What an open answer beside mine costs, in prompt tokens. On an H100 an 8B model's step takes 50 us longer for each
/// sequence in its batch, half a prompt token at 10,000 a second. Two answers of 300 tokens are so much longer, mine
/// and the other one, and seconds within an answer are worth a fifth: 2 x 300 x 0.5 x 0.2.
const ANSWER_PRICE: f64 = 60.0;
/// A token so deep in its prompt costs twice as much as the first one. Attention alone, which reads all tokens before
/// it, doubles it at 30,000 (a model of 8 billion parameters: 4 x 32 layers x 4,096 operations for each token before it,
/// beside 2 x 8 billion) or at 50,000 (70 billion). The other half: those that arrive while a prompt is computed wait for
/// the rest of it, so that a prompt twice as long holds up twice as many for twice as long. Replayed (conversations at
/// 10 GB/s, against no depth at all): at half load first tokens come 2 % later and whole answers 5 % earlier, at 0.66 8 %
/// and 6 %; at 0.8 both come later, by 19 % and 1 %. At 1 GB/s, where the long prompts should get the link, both come a
/// sixth to a third earlier, and agents gain too.
const DEPTH: f64 = 10_000.0;
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
    /// The way between a caller and an endpoint of another zone.
    pub(super) caller: f64,
}

/// A prompt, as one endpoint sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// Its tokens that the endpoint does not hold.
    pub(super) uncached: f64,
    /// All of its tokens.
    pub(super) prompt: f64,
}

/// The open work and the KV cache of an endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Prompt tokens that wait there.
    pub(super) waiting: f64,
    /// Prompt tokens whose KV is to come from other endpoints.
    pub(super) incoming: f64,
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
        let InFlight { requests, prefills, prefill_tokens, incoming_tokens, .. } = row.in_flight;
        let room = row.kv_tokens.map(|tokens| tokens as f64);
        Self {
            waiting: prefill_tokens as f64,
            incoming: incoming_tokens as f64,
            prefills: prefills.into(),
            requests: requests.into(),
            context: row.kv_usage * room.unwrap_or(0.0),
            free: room.map_or(f64::INFINITY, |room| room * (1.0 - row.kv_usage)),
        }
    }
}

// === impl Prices ===

impl Prices {
    /// A prompt that is computed where the answer is.
    pub(super) fn local(&self, load: &Load, size: Size, queue: f64) -> PairTerms {
        self.computed(load, size, queue, load.requests)
    }

    /// A prompt that is computed for another endpoint. Requests without their first token leave after it, so they are no
    /// answers here.
    pub(super) fn remote(&self, load: &Load, size: Size, queue: f64) -> PairTerms {
        let answers = (load.requests - load.prefills).max(0.0);
        PairTerms { hand_off: self.hand_off, ..self.computed(load, size, queue, answers) }
    }

    fn computed(&self, load: &Load, size: Size, queue: f64, answers: f64) -> PairTerms {
        let Size { uncached, prompt } = size;
        let price = (1.0 + queue + self.answer_weight * answers) * (1.0 + (prompt - uncached / 2.0) / DEPTH);
        PairTerms { waiting: load.waiting, uncached, price, ..PairTerms::default() }
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

    /// What is left of the transfers to an endpoint once a prompt is computed for it, `until` then.
    pub(super) fn link(&self, load: &Load, until: f64, near: bool) -> f64 {
        (load.incoming * self.of_move(near) - until).max(0.0)
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
    Cost::of(terms.between + terms.answers + terms.context + terms.short + terms.far)
}
