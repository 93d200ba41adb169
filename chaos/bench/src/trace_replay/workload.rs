//! Traffic generated from a seed, of the same kinds as the recorded traces, for use without a trace.
//!
//! Must not know replicas or engines. `chat` has the shape of Mooncake's conversations (one shared system prompt, turns
//! that repeat all before them). `agentic` has that of coding agents (a few harness prompts of 15,000 tokens, runs of
//! up to twelve calls whose prompts grow). Both are a quarter of the size of the recorded ones.

use clap::ValueEnum;
use murmuration::chance::Chance;

use super::trace::{ID_TOKENS, Recorded};

/// Kinds of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Conversations with long prompts.
    Chat,
    /// Coding agents.
    Agentic,
    /// Nine of ten requests begin with the same long prompt.
    Hot,
}

/// The shape of a kind. Times in seconds, sizes in ids of 512 tokens.
struct Shape {
    sessions: usize,
    span: f64,
    heads: usize,
    head_ids: usize,
    calls_max: usize,
    first_ids: f64,
    grown_ids: f64,
    pause: (f64, f64),
    answer_tokens: f64,
}

const CHAT: Shape = Shape {
    sessions: 1500,
    span: 900.0,
    heads: 1,
    head_ids: 1,
    calls_max: 4,
    first_ids: 16.0,
    grown_ids: 8.0,
    pause: (5.0, 90.0),
    answer_tokens: 340.0,
};

const AGENTIC: Shape = Shape {
    sessions: 130,
    span: 700.0,
    heads: 4,
    head_ids: 30,
    calls_max: 12,
    first_ids: 60.0,
    grown_ids: 6.0,
    pause: (3.0, 60.0),
    answer_tokens: 440.0,
};

/// Requests of [`Workload::Hot`], and the ids of their common beginning.
const HOT: (usize, u64) = (6000, 12);

/// Generates a trace; the same seed gives the same trace.
pub fn generate(workload: Workload, seed: u64) -> Vec<Recorded> {
    let shape = match workload {
        Workload::Chat => CHAT,
        Workload::Agentic => AGENTIC,
        Workload::Hot => return hot(seed),
    };
    let mut chance = Chance::from_seed(seed ^ 0x7261_6666_6963);
    let heads: Vec<Vec<u64>> = (0..shape.heads)
        .map(|head| (0..shape.head_ids).map(|i| (head * shape.head_ids + i) as u64).collect())
        .collect();
    let mut next_id = (shape.heads * shape.head_ids) as u64;
    let mut requests = Vec::new();
    for _ in 0..shape.sessions {
        let mut at = chance.unit() * shape.span;
        let mut ids = heads[chance.below(heads.len())].clone();
        let calls = 1 + chance.below(shape.calls_max);
        for call in 0..calls {
            let mean = if call == 0 { shape.first_ids } else { shape.grown_ids };
            let grown = exponential(&mut chance, mean).ceil() as u64;
            ids.extend(next_id..next_id + grown);
            next_id += grown;
            let output_length = 1 + exponential(&mut chance, shape.answer_tokens) as u64;
            // Whole ids only, because a later call repeats all of this one.
            let input_length = ids.len() as u64 * ID_TOKENS;
            requests.push(Recorded { timestamp: at * 1000.0, input_length, output_length, hash_ids: ids.clone() });
            at += shape.pause.0 + chance.unit() * (shape.pause.1 - shape.pause.0);
        }
    }
    requests.retain(|request| request.timestamp < shape.span * 1000.0);
    requests.sort_by(|a, b| a.timestamp.total_cmp(&b.timestamp));
    requests
}

/// Independent requests with a prompt of their own of about 2,000 tokens, nine of ten after a common one of 6,000.
fn hot(seed: u64) -> Vec<Recorded> {
    let mut chance = Chance::from_seed(seed ^ 0x686f_7400);
    let (count, common) = HOT;
    let mut next_id = common;
    let mut at = 0.0;
    let mut request = |_| {
        at += exponential(&mut chance, 100.0);
        let own = 1 + exponential(&mut chance, 4.0) as u64;
        let head = if chance.unit() < 0.9 { 0..common } else { next_id..next_id + common };
        let hash_ids: Vec<u64> = head.chain(next_id + common..next_id + common + own).collect();
        next_id += common + own;
        let output_length = 1 + exponential(&mut chance, 200.0) as u64;
        Recorded { timestamp: at, input_length: hash_ids.len() as u64 * ID_TOKENS, output_length, hash_ids }
    };
    (0..count).map(&mut request).collect()
}

/// A number with an exponential distribution, limited to six times its mean.
fn exponential(chance: &mut Chance, mean: f64) -> f64 {
    (-(1.0 - chance.unit()).ln()).min(6.0) * mean
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace_replay::tempo::Demand;

    #[test]
    fn one_seed_makes_one_trace() {
        for workload in [Workload::Chat, Workload::Agentic, Workload::Hot] {
            assert_eq!(generate(workload, 7), generate(workload, 7));
            assert_ne!(generate(workload, 7), generate(workload, 8));
        }
    }

    #[test]
    fn agents_repeat_most_of_their_prompts_and_chats_some() {
        let share = |workload| Demand::of(&generate(workload, 1)).reusable();
        assert!((0.25..0.65).contains(&share(Workload::Chat)), "{}", share(Workload::Chat));
        assert!((0.80..0.95).contains(&share(Workload::Agentic)), "{}", share(Workload::Agentic));
    }
}
