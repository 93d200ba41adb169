//! Answers as vLLM writes them: the JSON of a whole one, and the events of a stream.
//!
//! Must not know sockets. The fields follow captured answers of vLLM 0.32.0, in which unknown values are `null`.
//! `usage` always has its details, as with `--enable-prompt-tokens-details`.

use std::fmt::Write as _;
use std::ops::Range;

use serde_json::Value;

use super::ask::{Ask, Route};
use super::refusal::Refusal;
use super::tokens::text_of;
use crate::model::Output;

/// The end of every stream.
const DONE: &str = "data: [DONE]\n\n";

/// An answer that is being produced.
#[derive(Debug)]
pub(super) struct Answer {
    route: Route,
    /// `id`, JSON text.
    id: String,
    /// `model`, JSON text.
    model: String,
    /// Seconds since the Unix epoch.
    created: u64,
    fingerprint: String,
    first_id: u64,
    natural: bool,
    n: usize,
    prompt_tokens: usize,
    include_usage: bool,
    continuous_usage: bool,
    choices: Vec<Choice>,
    /// `kv_transfer_params`, JSON text.
    kept: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct Choice {
    text: String,
    tokens: usize,
    cached_tokens: usize,
    finished: bool,
}

// === impl Answer ===

impl Answer {
    /// The answer to `ask`, named `name`; the model's ids of its requests begin at `first_id`.
    pub(super) fn begin(ask: &Ask, name: &str, first_id: u64, created: u64, fingerprint: &str) -> Self {
        let prefix = ask.route.prefix();
        Self {
            route: ask.route,
            id: quoted(&format!("{prefix}-{name}")),
            model: quoted(&ask.model),
            created,
            fingerprint: quoted(fingerprint),
            first_id,
            natural: ask.natural,
            n: ask.n,
            prompt_tokens: ask.prompt_tokens,
            include_usage: ask.include_usage,
            continuous_usage: ask.continuous_usage,
            choices: vec![Choice::default(); ask.choices],
            kept: None,
        }
    }

    /// The ids that the model has for its requests.
    pub(super) fn ids(&self) -> Range<u64> {
        self.first_id..self.first_id + self.choices.len() as u64
    }

    /// Whether all choices are finished.
    pub(super) fn finished(&self) -> bool {
        self.choices.iter().all(|choice| choice.finished)
    }

    /// Adds a token to an answer that is sent whole.
    pub(super) fn add(&mut self, output: &Output) {
        if let Some((index, text)) = self.note(output) {
            self.choices[index].text.push_str(&text);
        }
    }

    /// Adds where its KV is kept. A stream does not say it.
    pub(super) fn keep(&mut self, parameters: &Value) {
        self.kept = Some(parameters.to_string());
    }

    /// The whole answer; unfinished choices were aborted by the engine.
    pub(super) fn whole(&self) -> String {
        let mut choices = String::new();
        for (index, choice) in self.choices.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let (text, reason) = (quoted(&choice.text), self.reason(choice));
            let _ = match self.route {
                Route::Completions => write!(
                    choices,
                    r#"{comma}{{"index":{index},"text":{text},"logprobs":null,"finish_reason":"{reason}","stop_reason":null,"token_ids":null,"prompt_logprobs":null,"prompt_token_ids":null,"routed_experts":null}}"#
                ),
                Route::Chat => write!(
                    choices,
                    r#"{comma}{{"index":{index},"message":{{"role":"assistant","content":{text},"refusal":null,"annotations":null,"audio":null,"function_call":null,"reasoning":null}},"logprobs":null,"finish_reason":"{reason}","stop_reason":null,"token_ids":null,"routed_experts":null}}"#
                ),
            };
        }
        let (object, tail) = match self.route {
            Route::Completions => ("text_completion", ""),
            Route::Chat => ("chat.completion", r#""prompt_logprobs":null,"prompt_token_ids":null,"prompt_text":null,"#),
        };
        format!(
            r#"{{{},"choices":[{choices}],"service_tier":null,"system_fingerprint":{},"usage":{},{tail}"kv_transfer_params":{},"ec_transfer_params":null,"metrics":null}}"#,
            self.head(object),
            self.fingerprint,
            self.usage(
                r#","created_cache_tokens":null,"multimodal_tokens":null"#,
                r#","completion_tokens_details":null"#
            ),
            self.kept.as_deref().unwrap_or("null"),
        )
    }

    /// The events of one token; in a chat the first one is preceded by the answer's role.
    pub(super) fn events(&mut self, output: &Output) -> String {
        let Some((index, text)) = self.note(output) else { return String::new() };
        let mut events = String::new();
        if output.index == 0 {
            self.role(index, &mut events);
        }
        let reason = output.finished.then(|| self.reason(&self.choices[index]));
        self.piece(index, &text, reason, &mut events);
        events
    }

    /// The events at a stream's end. Unfinished choices were aborted by the engine.
    pub(super) fn last_events(&mut self) -> String {
        let mut events = String::new();
        for index in 0..self.choices.len() {
            if !self.choices[index].finished {
                if self.choices[index].tokens == 0 {
                    self.role(index, &mut events);
                }
                self.piece(index, "", Some("abort"), &mut events);
            }
        }
        if self.include_usage {
            let (head, usage, fingerprint) = (self.chunk_head(), self.usage("", ""), &self.fingerprint);
            let _ = write!(
                events,
                "data: {{{head},\"choices\":[],\"usage\":{usage},\"system_fingerprint\":{fingerprint}}}\n\n"
            );
        }
        events + DONE
    }

    fn note(&mut self, output: &Output) -> Option<(usize, String)> {
        let index = usize::try_from(output.id.checked_sub(self.first_id)?).ok()?;
        let choice = self.choices.get_mut(index)?;
        choice.tokens += 1;
        choice.cached_tokens = output.cached_tokens;
        choice.finished = output.finished;
        Some((index, text_of(output.token)))
    }

    fn role(&self, index: usize, events: &mut String) {
        if self.route == Route::Chat {
            let (head, usage) = (self.chunk_head(), self.running_usage());
            let _ = write!(
                events,
                "data: {{{head},\"choices\":[{{\"index\":{index},\"delta\":{{\"role\":\"assistant\",\"content\":\"\"}},\
                 \"logprobs\":null,\"finish_reason\":null}}]{usage},\"prompt_token_ids\":null,\"prompt_text\":null}}\n\n"
            );
        }
    }

    fn piece(&self, index: usize, text: &str, reason: Option<&str>, events: &mut String) {
        let (head, text, usage) = (self.chunk_head(), quoted(text), self.running_usage());
        let reason_json = reason.map_or_else(|| "null".to_owned(), quoted);
        // If the stream ends with a usage chunk, that chunk has the fingerprint.
        let tail = match reason {
            Some(_) if !self.include_usage => format!(r#","system_fingerprint":{}"#, self.fingerprint),
            _ => String::new(),
        };
        let choice = match self.route {
            Route::Completions => format!(
                r#"{{"index":{index},"text":{text},"logprobs":null,"finish_reason":{reason_json},"stop_reason":null,"prompt_token_ids":null,"token_ids":null}}"#
            ),
            Route::Chat => {
                let stop = if reason.is_some() { r#""stop_reason":null,"# } else { "" };
                format!(
                    r#"{{"index":{index},"delta":{{"content":{text}}},"logprobs":null,"finish_reason":{reason_json},{stop}"token_ids":null}}"#
                )
            }
        };
        let _ = write!(events, "data: {{{head},\"choices\":[{choice}]{usage}{tail}}}\n\n");
    }

    fn reason(&self, choice: &Choice) -> &'static str {
        match (choice.finished, self.natural) {
            (false, _) => "abort",
            (true, true) => "stop",
            (true, false) => "length",
        }
    }

    fn chunk_head(&self) -> String {
        self.head(match self.route {
            Route::Completions => "text_completion",
            Route::Chat => "chat.completion.chunk",
        })
    }

    fn head(&self, object: &str) -> String {
        let Self { id, created, model, .. } = self;
        format!(r#""id":{id},"object":"{object}","created":{created},"model":{model}"#)
    }

    fn usage(&self, details: &str, tail: &str) -> String {
        let (prompt, answer) = (self.prompt_tokens, self.answer_tokens());
        // Of `n` answers to one prompt, the first one has the tokens that were cached before.
        let cached: usize = self.choices.iter().step_by(self.n.max(1)).map(|choice| choice.cached_tokens).sum();
        format!(
            r#"{{"prompt_tokens":{prompt},"total_tokens":{},"completion_tokens":{answer},"prompt_tokens_details":{{"cached_tokens":{cached}{details}}}{tail}}}"#,
            prompt + answer
        )
    }

    fn running_usage(&self) -> String {
        if !self.continuous_usage {
            return String::new();
        }
        let (prompt, answer) = (self.prompt_tokens, self.answer_tokens());
        format!(
            r#","usage":{{"prompt_tokens":{prompt},"total_tokens":{},"completion_tokens":{answer}}}"#,
            prompt + answer
        )
    }

    fn answer_tokens(&self) -> usize {
        self.choices.iter().map(|choice| choice.tokens).sum()
    }
}

/// The one event of a stream that is refused after it began, and its end.
pub(super) fn refused_stream(refusal: &Refusal) -> String {
    format!("data: {}\n\n{DONE}", refusal.body())
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
#[path = "tests/answer.rs"]
mod tests;
