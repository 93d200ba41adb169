//! The requests of a storm: conversations that grow, changed by traffic faults.
//!
//! Must not know answers. Each request follows from its number, its time and the plan.

use std::time::Duration;

use bytes::Bytes;
use murmuration::chance::mix;
use murmuration_kit::text::words;
use serde_json::json;

use murmuration_kit::client::Call;
use murmuration_simulation::plan::{Fault, Plan};

/// Turns of a conversation; then another one takes its place.
const TURNS: u64 = 12;
/// Each turn adds the prompt's size divided by this.
const TURN_SHARE: usize = 8;
/// Events of a stream after which a vanishing client disconnects.
const VANISHES_AFTER: usize = 5;
/// Numbers of a burst's requests begin here, so that they differ from the steady load's.
const BURST_FROM: u64 = 1 << 32;

/// The load of a plan, and that of each burst: its rate, when it begins, how long it lasts, and its first number.
pub(super) fn loads(plan: &Plan, lasting: Duration) -> Vec<(f64, Duration, Duration, u64)> {
    let mut loads = vec![(plan.traffic.rate, Duration::ZERO, lasting, 0)];
    for (index, strike) in plan.faults.iter().enumerate() {
        if let Fault::Burst { factor } = strike.fault {
            let more = plan.traffic.rate * (factor - 1.0);
            if more > 0.0 {
                loads.push((more, strike.at, strike.lasting, BURST_FROM * (index as u64 + 1)));
            }
        }
    }
    loads
}

/// Request `number`, due at `at`.
pub(super) fn call(plan: &Plan, model: &str, number: u64, at: Duration) -> Call {
    let draw = |salt: u64| mix(plan.seed ^ mix(number) ^ salt) as f64 / u64::MAX as f64;
    let (mut head, mut size, mut vanishes) =
        (number % plan.traffic.conversations as u64, plan.traffic.prompt_bytes, false);
    let now = |strike: &&murmuration_simulation::plan::ScheduledFault| (strike.at..strike.end()).contains(&at);
    for strike in plan.faults.iter().filter(now) {
        match strike.fault {
            Fault::HotPrefix { share } if draw(1) < share => head = u64::MAX,
            Fault::Vanish { share } => vanishes = draw(2) < share,
            Fault::LargePrompts { share, bytes } if draw(3) < share => size = bytes,
            _ => {}
        }
    }
    let streamed = vanishes || draw(4) < plan.traffic.streamed;
    let turn = number / plan.traffic.conversations as u64 + head.wrapping_mul(5) % TURNS;
    let mut text = words(mix(head) ^ plan.seed ^ (turn / TURNS), size);
    for past in 0..=turn % TURNS {
        text.push_str(&words(mix(head ^ mix(turn / TURNS)) ^ past, size.min(plan.traffic.prompt_bytes) / TURN_SHARE));
    }
    let mut body = json!({
        "model": model,
        "messages": [{ "role": "user", "content": text }],
        "max_tokens": plan.traffic.answer_tokens,
        "stream": streamed,
    });
    if streamed {
        body["stream_options"] = json!({ "include_usage": true });
    }
    Call {
        path: "/v1/chat/completions".to_owned(),
        body: Bytes::from(body.to_string()),
        headers: Vec::new(),
        streamed,
        leaves_after: vanishes.then_some(VANISHES_AFTER),
    }
}

/// The body of the question that every replica is asked directly.
pub(super) fn question(model: &str, number: u64) -> Vec<u8> {
    let text = words(mix(number) ^ 7, 4_000);
    json!({ "model": model, "prompt": text, "max_tokens": 1 }).to_string().into_bytes()
}
