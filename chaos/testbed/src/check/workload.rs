//! The requests, always the same: sizes, kinds, shared prefixes, and requests that must fail.
//!
//! Must not know answers. Prompts come from fixed seeds, so that two runs, and two ways to the engines, are comparable.

use bytes::Bytes;
use murmuration::chance::mix;
use serde_json::{Value, json};

use murmuration_kit::client::Call;

/// Sizes of bodies: name, most bytes, how often each prompt is asked. The megabyte is decimal, so that its prompt and
/// answer fit into the blocks of an emulated engine of default size.
const SIZES: [(&str, usize, usize); 4] =
    [("1 KB", 1 << 10, 4), ("16 KB", 16 << 10, 3), ("128 KB", 128 << 10, 2), ("1 MB", 1_000_000, 1)];
/// Completions of a megabyte would only double the time that chats of a megabyte take.
const COMPLETION_BYTES_MAX: usize = 128 << 10;
/// Most bytes of a body besides its prompt.
const FRAME_BYTES: usize = 300;

/// Groups of requests with a shared prefix. A prime number, so that a proxy that takes replicas round robin sends each
/// group to each replica.
const GROUPS: usize = 7;
/// Requests of a group.
const ROUNDS: usize = 8;
/// The shared head of a group's prompts.
const HEAD_BYTES: usize = 8 << 10;
/// Each request's own tail.
const TAIL_BYTES: usize = 200;

/// Tokens of an answer.
pub(super) const MAX_TOKENS: u64 = 8;

/// The route of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    Chat,
    Completions,
}

/// What must come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// An answer of the engine.
    Answer {
        /// Its shape.
        api: Api,
        /// The model it must name.
        model: String,
        /// The prompt's name; answers to the same prompt must have the same text.
        prompt: String,
        /// The group of requests with the same prefix.
        group: Option<usize>,
    },
    /// 400 of the picker.
    OurRefusal,
    /// 404 of the engine, passed through.
    NotFound,
    /// A page: the list of models.
    Page,
}

/// A request and what must come back.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// The request's name in failure messages.
    pub(super) label: String,
    pub(super) call: Call,
    pub(super) expected: Expected,
}

// === impl Api ===

impl Api {
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completion",
        }
    }

    pub(super) fn body(self, model: &str, head: &str, tail: &str, max_tokens: u64, streamed: bool) -> Value {
        let mut body = json!({ "model": model, "max_tokens": max_tokens, "temperature": 0, "ignore_eos": true });
        match self {
            Self::Chat => {
                let (system, user) =
                    (json!({ "role": "system", "content": head }), json!({ "role": "user", "content": tail }));
                body["messages"] = json!([system, user]);
            }
            Self::Completions => body["prompt"] = json!(format!("{head}{tail}")),
        }
        if streamed {
            body["stream"] = json!(true);
            body["stream_options"] = json!({ "include_usage": true });
        }
        body
    }
}

/// A lane for each size of body, and one for the adapter where there is one.
pub(super) fn lanes(model: &str, adapter: Option<&str>) -> Vec<Vec<Ask>> {
    let mut lanes: Vec<Vec<Ask>> = SIZES.iter().map(|&(size, bytes, times)| lane(model, size, bytes, times)).collect();
    lanes.extend(adapter.map(|adapter| lane(adapter, "1 KB with an adapter", 1 << 10, 1)));
    lanes
}

fn lane(model: &str, size: &str, bytes: usize, times: usize) -> Vec<Ask> {
    let mut asks = Vec::new();
    for api in [Api::Chat, Api::Completions] {
        if api == Api::Completions && bytes > COMPLETION_BYTES_MAX {
            continue;
        }
        let prompt = format!("{} of {size}", api.word());
        let text = words(&prompt, bytes - FRAME_BYTES);
        for time in 0..2 * times {
            let streamed = time % 2 == 1;
            let label = format!("{prompt}{}, time {}", if streamed { ", streamed" } else { "" }, time / 2 + 1);
            let body = api.body(model, "Answer in one word.", &text, MAX_TOKENS, streamed);
            let expected = Expected::Answer { api, model: model.to_owned(), prompt: prompt.clone(), group: None };
            asks.push(Ask { label, call: call(api, &body, streamed), expected });
        }
    }
    asks
}

/// The groups in turn, round after round; chats and completions, streamed and not.
pub(super) fn shared_prefixes(model: &str) -> Vec<Ask> {
    let heads: Vec<String> = (0..GROUPS).map(|group| words(&format!("group {group}"), HEAD_BYTES)).collect();
    let mut asks = Vec::with_capacity(GROUPS * ROUNDS);
    for round in 0..ROUNDS {
        for (group, head) in heads.iter().enumerate() {
            let api = if group % 2 == 0 { Api::Chat } else { Api::Completions };
            let streamed = round % 2 == 1;
            let prompt = format!("group {group}, request {round}");
            let body = api.body(model, head, &words(&prompt, TAIL_BYTES), MAX_TOKENS, streamed);
            let expected =
                Expected::Answer { api, model: model.to_owned(), prompt: prompt.clone(), group: Some(group) };
            asks.push(Ask { label: prompt, call: call(api, &body, streamed), expected });
        }
    }
    asks
}

/// Requests that must fail, each in its own way.
pub(super) fn bad_requests(model: &str) -> Vec<Ask> {
    let mut asks = Vec::new();
    for api in [Api::Chat, Api::Completions] {
        let whole = api.body(model, "Hello.", "Hello?", 1, false).to_string();
        let broken = Call {
            path: api.path().to_owned(),
            body: Bytes::from(whole[..whole.len() / 2].to_owned()),
            headers: Vec::new(),
            streamed: false,
            leaves_after: None,
        };
        asks.push(Ask {
            label: format!("{} of broken JSON", api.word()),
            call: broken,
            expected: Expected::OurRefusal,
        });
        for streamed in [false, true] {
            let body = api.body("no-such-model", "Hello.", "Hello?", 1, streamed);
            let label = format!("{} of an unknown model{}", api.word(), if streamed { ", streamed" } else { "" });
            asks.push(Ask { label, call: call(api, &body, streamed), expected: Expected::NotFound });
        }
    }
    asks
}

/// The request that measures latency: 1 KB, one token.
pub(super) fn small(model: &str) -> Call {
    let text = words("latency", (1 << 10) - FRAME_BYTES);
    call(Api::Completions, &Api::Completions.body(model, "", &text, 1, false), false)
}

pub(super) fn call(api: Api, body: &Value, streamed: bool) -> Call {
    let (path, body) = (api.path().to_owned(), Bytes::from(body.to_string()));
    Call { path, body, headers: Vec::new(), streamed, leaves_after: None }
}

/// `bytes` bytes of text: the title, characters that JSON must escape, then words, some of them beyond ASCII.
pub(super) fn words(title: &str, bytes: usize) -> String {
    const WORDS: [&str; 16] = [
        "starling", "flock", "turns", "without", "leader", "each", "bird", "minds", "seven", "others", "dusk", "over",
        "the", "reed", "naïve", "椋鳥",
    ];
    let mut state = title.bytes().fold(0, |state, byte| mix(state ^ u64::from(byte)));
    let mut text = format!("{title}: \"dusk\"\n\\\t");
    loop {
        state = mix(state);
        let word = WORDS[(state % WORDS.len() as u64) as usize];
        if text.len() + word.len() + 1 > bytes {
            // JSON writes an escape in two bytes: `FRAME_BYTES` has room for these few.
            text.extend(std::iter::repeat_n('.', bytes.saturating_sub(text.len())));
            return text;
        }
        text.push_str(word);
        text.push(' ');
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]

    use super::*;

    #[test]
    fn bodies_are_as_large_as_their_lane_says() {
        for (lane, (_, bytes, _)) in lanes("tiny", None).iter().zip(SIZES) {
            for ask in lane {
                let length = ask.call.body.len();
                assert!(length <= bytes && length + FRAME_BYTES > bytes, "{}: {length} of {bytes}", ask.label);
            }
        }
        assert!(small("tiny").body.len() <= 1 << 10);
    }

    #[test]
    fn the_same_prompt_is_asked_streamed_and_not() {
        let lane = &lanes("tiny", None)[0];
        let prompt = |ask: &Ask| serde_json::from_slice::<Value>(&ask.call.body).expect("JSON")["messages"].clone();
        assert_eq!(prompt(&lane[0]), prompt(&lane[1]));
        assert_ne!(lane[0].call.streamed, lane[1].call.streamed);
    }

    #[test]
    fn a_group_shares_its_head_and_nothing_of_its_tails() {
        let asks = shared_prefixes("tiny");
        let texts: Vec<String> = asks
            .iter()
            .filter(|ask| matches!(ask.expected, Expected::Answer { group: Some(1), .. }))
            .map(|ask| serde_json::from_slice::<Value>(&ask.call.body).expect("JSON")["prompt"].to_string())
            .collect();
        assert_eq!(texts.len(), ROUNDS);
        for pair in texts.windows(2) {
            let shared = pair[0].bytes().zip(pair[1].bytes()).take_while(|(a, b)| a == b).count();
            assert!((HEAD_BYTES..HEAD_BYTES + TAIL_BYTES / 2).contains(&shared), "{shared}");
        }
    }

    #[test]
    fn broken_json_is_broken() {
        for ask in bad_requests("tiny") {
            let broken = serde_json::from_slice::<Value>(&ask.call.body).is_err();
            assert_eq!(broken, ask.expected == Expected::OurRefusal, "{}", ask.label);
        }
    }
}
