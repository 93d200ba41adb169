//! What a real vLLM's scheduler decided, step by step, and the model's decisions for the same arrivals.
//!
//! `tests/real_vllm/steps.py` records the steps. Must not know how long a step takes.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use murmuration::time::Timestamp;
use serde::Deserialize;

use super::*;

const RECORDED: &str = include_str!("../../../../tests/fixtures/vllm/steps.json");

#[derive(Deserialize)]
struct Page {
    block_tokens: usize,
    scenarios: Vec<Scenario>,
}

#[derive(Deserialize)]
struct Scenario {
    name: String,
    settings: Settings,
    requests: Vec<Asked>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Settings {
    blocks: usize,
    seqs: usize,
    batched: usize,
    adapters: Option<usize>,
}

#[derive(Deserialize)]
struct Asked {
    /// The number of steps that began before it arrived.
    step: usize,
    /// Texts by number, and how many tokens of each.
    prompt: Vec<(u32, u32)>,
    answer: usize,
    adapter: Option<String>,
}

/// What one step decides; numbers are those of requests.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct Step {
    /// Tokens computed.
    computed: BTreeMap<u64, usize>,
    /// Tokens of those admitted that were in the cache.
    found: BTreeMap<u64, usize>,
    preempted: Vec<u64>,
}

impl Scenario {
    fn config(&self, block_tokens: usize) -> EngineConfig {
        let Settings { blocks, seqs, batched, adapters } = self.settings;
        EngineConfig {
            blocks,
            block_tokens,
            max_num_seqs: seqs,
            max_num_batched_tokens: batched,
            max_loras: adapters.unwrap_or(0),
            ..EngineConfig::default()
        }
    }

    fn arrivals(&self, step: usize, block_tokens: usize) -> impl Iterator<Item = Sequence> + '_ {
        let numbered = (0..).zip(&self.requests).filter(move |(_, asked)| asked.step == step);
        numbered.map(move |(id, asked)| Sequence::new(asked.request(id), block_tokens))
    }
}

impl Asked {
    fn request(&self, id: u64) -> Request {
        let text = |&(text, length): &(u32, u32)| (0..length).map(move |at| 3 + (text * 7919 + at * 104_729) % 7997);
        let tokens = self.prompt.iter().flat_map(text).collect();
        Request { id, tokens, adapter: self.adapter.clone(), salt: None, max_tokens: self.answer }
    }
}

/// Begins a step, and says what it decided.
fn step(model: &mut EngineModel, arrived: impl Iterator<Item = Sequence>) -> Step {
    let before: BTreeMap<u64, usize> =
        model.running.iter().map(|sequence| (sequence.id(), sequence.computed)).collect();
    model.waiting.extend(arrived);
    model.begin_step(Timestamp::ZERO);
    let running = || model.running.iter();
    let preempted = |sequence: &&Sequence| before.contains_key(&sequence.id());
    let admitted = running().filter(|sequence| !before.contains_key(&sequence.id()));
    let mut preempted: Vec<u64> = model.waiting.iter().filter(preempted).map(Sequence::id).collect();
    preempted.sort_unstable();
    Step {
        computed: running().filter(|s| s.chunk > 0).map(|sequence| (sequence.id(), sequence.chunk)).collect(),
        found: admitted.map(|sequence| (sequence.id(), sequence.computed)).collect(),
        preempted,
    }
}

#[test]
fn each_step_decides_what_a_real_vllm_decided() {
    let page: Page = serde_json::from_str(RECORDED).unwrap();
    for scenario in &page.scenarios {
        let mut model = EngineModel::new(scenario.config(page.block_tokens));
        let mut ended = Vec::new();
        for (number, recorded) in scenario.steps.iter().enumerate() {
            let decided = step(&mut model, scenario.arrivals(number, page.block_tokens));
            assert_eq!(decided, *recorded, "step {number} of {}", scenario.name);
            model.end_step(Timestamp::ZERO, &mut ended);
        }
        let finished = ended.iter().filter(|output| output.finished).count();
        assert_eq!((finished, model.running.len(), model.waiting.len()), (scenario.requests.len(), 0, 0));
    }
}
