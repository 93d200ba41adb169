//! Decisions that llm-d's code would make too, over its published samples of disaggregated serving.
//!
//! `tests/golden/decisions/NAME.yaml` is a configuration of ours that means what a published sample means, and
//! `NAME.txt` has the decisions. The samples themselves are not part of this repository; where they lie beside it, they
//! must decide the same. Each scenario is laid out so that llm-d's formulas leave no tie, which it would break by lot:
//! queue-scorer (max - q) / (max - min), prefix-cache-scorer twice the share of the prompt, topology 1 on one host.
//! A text that changed is written beside the golden one as `.txt.new`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/golden.rs"]
mod golden;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use murmuration::chance::mix;
use murmuration::config::{self, Catalog};
use murmuration::fleet::{Endpoint, EndpointChange, LoadReport, Observation, TrustAges};
use murmuration::id::{BlockHash, EndpointId, Ticket};
use murmuration::prefix::PrefixChain;
use murmuration::request::{Asked, InferenceRequest, Outcome, Prompt};
use murmuration::schedule::{Decision, Stage};
use murmuration::scheduler::recent::RECENT_MAX;
use murmuration::scheduler::{Input, News, Outbox, Scheduler, SchedulerSettings};
use murmuration::time::Timestamp;

use crate::golden::{folder, llm_d_samples};

/// A configuration of ours, its scenario, and the published samples that mean the same.
type Case = (&'static str, fn(&mut Pool), &'static [&'static str]);

const CASES: [Case; 8] = [
    ("pd", pairs, &["pd-epp-config.yaml", "sim-pd-epp-config.yaml"]),
    ("pd-topology", pairs, &["pd-topology-epp-config.yaml"]),
    ("e-p-d", media, &["sim-e-p-d-epp-config.yaml"]),
    ("e-pd", media, &["sim-e-pd-epp-config.yaml"]),
    ("dp", ranks, &["dp-epp-config.yaml"]),
    ("pd-handler", without_prefill, &[]),
    ("prefill-first", pairs, &[]),
    ("header", stages, &[]),
];

/// A scheduler with its pool, and what it decided.
struct Pool {
    scheduler: Scheduler,
    asked: u64,
    millis: u64,
    text: String,
}

/// A request, by what matters.
#[derive(Clone, Copy, Default)]
struct Ask<'a> {
    /// Its conversation, and its prompt in blocks of 64 tokens.
    conversation: u64,
    blocks: u64,
    /// Tokens, where there are no blocks.
    tokens: u64,
    media: u32,
    profile: Option<&'a str>,
    only: Option<&'a str>,
    if_available: bool,
}

#[test]
fn decisions_are_those_of_the_golden_texts() {
    golden::compare(CASES.map(|(name, scenario, _)| {
        let golden = folder("tests/golden/decisions").join(name).with_extension("txt");
        let text = decided(&golden.with_extension("yaml"), scenario);
        (golden, text)
    }));
}

#[test]
fn llm_d_s_own_samples_decide_the_same() {
    let Some(samples) = llm_d_samples() else { return };
    for (name, scenario, published) in CASES {
        let golden = fs::read_to_string(folder("tests/golden/decisions").join(name).with_extension("txt")).unwrap();
        for sample in published {
            assert_eq!(decided(&samples.join(sample), scenario), golden, "{sample}");
        }
    }
}

/// What a configuration decides in a scenario.
fn decided(file: &Path, scenario: fn(&mut Pool)) -> String {
    let text = fs::read_to_string(file).unwrap();
    let mut pool = Pool::new(&text, &file.display().to_string());
    scenario(&mut pool);
    pool.text
}

/// A cold prompt, the same again, a longer one with the same beginning, and a short one.
fn pairs(pool: &mut Pool) {
    pool.endpoint("d1", "10.0.0.1:8000", &[("llm-d.ai/role", "decode"), ("kubernetes.io/hostname", "h1")]);
    pool.endpoint("d2", "10.0.0.2:8000", &[("kubernetes.io/hostname", "h2")]);
    pool.endpoint("p1", "10.0.1.1:8000", &[("llm-d.ai/role", "prefill"), ("kubernetes.io/hostname", "h2")]);
    pool.endpoint("p2", "10.0.1.2:8000", &[("llm-d.ai/role", "prefill"), ("kubernetes.io/hostname", "h1")]);
    pool.waiting(&[("d1", 0), ("d2", 4), ("p1", 0), ("p2", 3)]);
    pool.ask("a cold prompt", Ask { conversation: 1, blocks: 20, ..Ask::default() });
    pool.waiting(&[("d1", 6), ("d2", 0), ("p1", 5), ("p2", 0)]);
    pool.ask("the same again", Ask { conversation: 1, blocks: 20, ..Ask::default() });
    pool.waiting(&[("d1", 6), ("d2", 0), ("p1", 5), ("p2", 0)]);
    pool.ask("five blocks more", Ask { conversation: 1, blocks: 25, ..Ask::default() });
    pool.waiting(&[("d1", 6), ("d2", 0), ("p1", 5), ("p2", 0)]);
    pool.ask("ten tokens", Ask { conversation: 2, tokens: 10, ..Ask::default() });
    pool.remove(&["p1", "p2"]);
    pool.waiting(&[("d1", 6), ("d2", 0)]);
    pool.ask("nobody prefills", Ask { conversation: 3, blocks: 20, ..Ask::default() });
}

/// Requests with and without images.
fn media(pool: &mut Pool) {
    pool.endpoint("e1", "10.0.2.1:8000", &[("llm-d.ai/role", "encode")]);
    pool.endpoint("p1", "10.0.1.1:8000", &[("llm-d.ai/role", "prefill")]);
    pool.endpoint("d1", "10.0.0.1:8000", &[("llm-d.ai/role", "prefill-decode")]);
    pool.waiting(&[("d1", 5), ("p1", 0), ("e1", 9)]);
    pool.ask("text", Ask { conversation: 1, blocks: 20, ..Ask::default() });
    pool.waiting(&[("d1", 5), ("p1", 0), ("e1", 9)]);
    pool.ask("two images", Ask { conversation: 2, blocks: 20, media: 2, ..Ask::default() });
    pool.remove(&["e1"]);
    pool.waiting(&[("d1", 5), ("p1", 0)]);
    pool.ask("nobody encodes", Ask { conversation: 3, blocks: 20, media: 1, ..Ask::default() });
}

/// Two ranks of one host: the prompt follows the rank that holds it.
fn ranks(pool: &mut Pool) {
    pool.endpoint("r0", "10.0.0.1:8200", &[]);
    pool.endpoint("r1", "10.0.0.1:8201", &[("llm-d.ai/role", "decode")]);
    pool.endpoint("p", "10.0.0.2:8200", &[("llm-d.ai/role", "prefill")]);
    pool.waiting(&[("r0", 0), ("r1", 0), ("p", 0)]);
    let prompt = Ask { conversation: 1, blocks: 20, ..Ask::default() };
    pool.ask("only rank 1 may", Ask { only: Some("10.0.0.1:8201"), ..prompt });
    pool.waiting(&[("r0", 0), ("r1", 3), ("p", 0)]);
    pool.ask("the same again", prompt);
}

/// With and without endpoints that prefill.
fn without_prefill(pool: &mut Pool) {
    pool.endpoint("d1", "10.0.0.1:8201", &[("llm-d.ai/role", "decode")]);
    pool.endpoint("p1", "10.0.1.1:8201", &[("llm-d.ai/role", "prefill")]);
    pool.waiting(&[("d1", 0), ("p1", 0)]);
    pool.ask("a prompt", Ask { conversation: 1, blocks: 20, ..Ask::default() });
    pool.remove(&["p1"]);
    pool.waiting(&[("d1", 0)]);
    pool.ask("nobody prefills", Ask { conversation: 2, blocks: 20, ..Ask::default() });
}

/// The stages of one request, each asked for by itself.
fn stages(pool: &mut Pool) {
    pool.endpoint("d1", "10.0.0.1:8000", &[("llm-d.ai/role", "decode")]);
    pool.endpoint("p1", "10.0.1.1:8000", &[("llm-d.ai/role", "prefill")]);
    pool.waiting(&[("d1", 0), ("p1", 0)]);
    let prompt = Ask { conversation: 1, blocks: 20, ..Ask::default() };
    pool.ask("decode if it is there", Ask { if_available: true, ..prompt });
    pool.ask("prefill", Ask { profile: Some("prefill"), ..prompt });
    pool.ask("decode", Ask { profile: Some("decode"), ..prompt });
    pool.ask("decode if it is there now", Ask { if_available: true, ..prompt });
    pool.ask("a stage that nobody knows", Ask { profile: Some("encode"), ..prompt });
}

// === impl Pool ===

impl Pool {
    fn new(config: &str, name: &str) -> Self {
        let blueprint = config::read(config, name, &Catalog::builtin()).unwrap_or_else(|errors| panic!("{errors}"));
        let settings = SchedulerSettings {
            prefix: blueprint.prefix,
            in_flight: blueprint.in_flight,
            saturation: blueprint.saturation,
            index_bytes_max: 1 << 20,
            recent_max: RECENT_MAX,
            lease: Duration::from_secs(600),
            sharing: false,
            trust_ages: TrustAges::default(),
        };
        Self { scheduler: Scheduler::new(blueprint.profiles, settings), asked: 0, millis: 0, text: String::new() }
    }

    fn handle(&mut self, input: Input) -> Outbox {
        self.millis += 1;
        let mut out = Outbox::default();
        self.scheduler.handle(input, Timestamp::from_millis(self.millis), &mut out);
        out
    }

    fn endpoint(&mut self, name: &str, address: &str, labels: &[(&str, &str)]) {
        let labels: BTreeMap<String, String> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let endpoint = Endpoint { id: EndpointId::new("pool", name), address: address.parse().unwrap(), labels };
        self.handle(Input::Discovered(vec![EndpointChange::Upsert(endpoint)]));
    }

    fn remove(&mut self, names: &[&str]) {
        for name in names {
            self.handle(Input::Discovered(vec![EndpointChange::Remove(EndpointId::new("pool", name))]));
        }
    }

    /// What the engines report, so that nothing dispatched before is unseen.
    fn waiting(&mut self, reports: &[(&str, u32)]) {
        self.millis += 1_000;
        for (name, waiting) in reports {
            let report = LoadReport { waiting: *waiting, awake: true, ..LoadReport::default() };
            let observation = Observation { report, age: Duration::ZERO };
            self.handle(Input::Observed(EndpointId::new("pool", name), observation));
        }
    }

    /// Decides, writes the decision down, and lets the request be served whole.
    fn ask(&mut self, what: &str, ask: Ask<'_>) {
        self.asked += 1;
        let ticket = Ticket(self.asked);
        let hashes = (0..ask.blocks).map(|block| BlockHash(mix(ask.conversation * 1_000 + block))).collect();
        let chain = PrefixChain::from_blocks(64, hashes);
        let request = InferenceRequest {
            id: format!("r{}", self.asked),
            prompt: Prompt::estimated(ask.tokens.max(64 * ask.blocks), ask.media, chain),
            content_hash: ask.conversation,
            profile: ask.profile.map(str::to_owned),
            subset: ask.only.map(|address| vec![address.parse().unwrap()].into()),
            if_available: ask.if_available,
            sees_response: true,
            ..InferenceRequest::default()
        };
        let out = self.handle(Input::Asked(Asked::new(ticket, request)));
        let line = match &out.answers[0].1 {
            Ok(decision) => told(decision),
            Err(refusal) => format!("  {} {}: {}\n", refusal.code.status(), refusal.code, refusal.sentence),
        };
        write!(self.text, "{what}\n{line}").unwrap();
        self.handle(Input::TicketUpdate(ticket, News::FirstToken));
        self.handle(Input::TicketUpdate(ticket, News::Finished(Outcome::Completed)));
    }
}

/// A decision in words.
fn told(decision: &Decision) -> String {
    let mut text = String::new();
    let destinations: Vec<String> = decision.destinations().map(|address| address.to_string()).collect();
    writeln!(text, "  {} to {}", decision.split(), destinations.join(",")).unwrap();
    for (stage, word) in [(Stage::Encode, "encode"), (Stage::Prefill, "prefill"), (Stage::Decode, "decode")] {
        for target in decision.leg(stage).into_iter().flat_map(|leg| &leg.targets) {
            let (held, of) = (target.matched.blocks, target.matched.of);
            writeln!(text, "  {word}: {}, score {:.2}, holds {held} of {of}", target.endpoint.name(), target.score)
                .unwrap();
        }
    }
    if let Some(rank) = decision.rank() {
        writeln!(text, "  rank: {rank}").unwrap();
    }
    for verdict in &decision.explanation.verdicts {
        let apart = if verdict.separate { "apart" } else { "not apart" };
        writeln!(text, "  {:?} {apart}: {}", verdict.stage, verdict.reason).unwrap();
    }
    text
}
