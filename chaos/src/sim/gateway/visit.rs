//! One request from its asking to its end.
//!
//! Must not know other requests.

use std::net::SocketAddr;
use std::time::Duration;

use murmuration::id::EndpointId;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;

use super::Shared;
use crate::chronicle::{End, Fact, Witness};
use crate::engine::model::{Output, Request};
use crate::sim::prompt::Prompt;
use crate::sim::talk::{self, Answer, Talk};

/// Replicas that are tried.
const TRIES: u32 = 3;
/// Tokens of an answer that the replica is shown at once, after the first.
const TOGETHER: usize = 8;
/// How long the gateway waits for an engine that it can't reach.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);

/// A request.
pub(super) struct Visit {
    pub(super) number: u64,
    pub(super) prompt: Prompt,
    pub(super) tokens: u32,
    pub(super) streamed: bool,
    pub(super) vanishes: bool,
    /// The engines that the gateway admits; empty for all.
    pub(super) subset: Vec<usize>,
}

/// How a request ended, and what it was until then.
struct Ended {
    end: End,
    first_token: Option<Duration>,
    cached: u64,
}

// === impl Visit ===

impl Visit {
    /// Asks replicas until one answers, and then the engine.
    pub(super) async fn run(self, shared: &Shared) {
        let asked = shared.scribe.now();
        let text = self.prompt.text();
        let tokens = Prompt::tokens(&text);
        let length = tokens.len() as u64;
        let ended = match self.placed(shared, &text).await {
            Ok((to, talk)) => self.served(shared, to, talk, tokens, asked).await,
            Err(end) => Ended::without_token(end),
        };
        let Ended { end, first_token, cached } = ended;
        let fact = Fact::Done { request: self.number, end, first_token, prompt: (length, cached) };
        shared.scribe.write(Witness::Client, fact);
    }

    /// Where it goes, and the stream that its answer is shown on.
    async fn placed(&self, shared: &Shared, text: &str) -> Result<(SocketAddr, Box<Talk>), End> {
        let request = self.number;
        let write = |fact| shared.scribe.write(Witness::Client, fact);
        let subset: Vec<SocketAddr> = self.subset.iter().map(|engine| shared.directory.address(*engine)).collect();
        let admitted: Vec<EndpointId> = self.subset.iter().map(|engine| shared.directory.id(*engine)).collect();
        let body = Prompt::body(text, self.tokens, self.streamed);
        let mut tried = Vec::new();
        for attempt in 0..TRIES {
            let replica = shared.next(&tried);
            tried.push(replica);
            write(Fact::Asked { request, replica, attempt, subset: admitted.clone() });
            match talk::ask(shared.ways[replica].clone(), &format!("request-{request}"), &subset, &body).await {
                Answer::Sent(address, talk) => {
                    let to = shared.directory.at(address).map(|engine| shared.directory.id(engine));
                    write(Fact::Sent { request, replica, to: to.clone() });
                    return to.map(|_| (address, talk)).ok_or(End::EngineFailed);
                }
                Answer::Refused(status, code) => {
                    write(Fact::Refused { request, replica, status, code });
                    return Err(End::Refused);
                }
                Answer::Unanswered(why) => write(Fact::Unanswered { request, replica, why }),
            }
        }
        Err(End::Unanswered)
    }

    /// The engine's answer, shown to the replica where that stays for it.
    async fn served(
        &self,
        shared: &Shared,
        address: SocketAddr,
        talk: Box<Talk>,
        tokens: Vec<u32>,
        asked: Duration,
    ) -> Ended {
        // Whoever has moved does not answer at its former address.
        let there = shared.directory.at(address).filter(|engine| shared.directory.address(*engine) == address);
        let Some(to) = there else { return Ended::without_token(End::EngineFailed) };
        if !shared.reaches(to) {
            sleep(CONNECT_PATIENCE).await;
            return Ended::without_token(End::EngineFailed);
        }
        let max_tokens = self.tokens as usize;
        let request = Request { id: self.number, tokens, adapter: None, salt: None, max_tokens };
        let prompt_tokens = request.tokens.len();
        let outputs = shared.engines[to].ask(request, shared.scribe.moment());
        let Some(mut outputs) = outputs else { return Ended::without_token(End::EngineFailed) };
        let Some(first) = outputs.recv().await else { return Ended::without_token(End::EngineFailed) };
        let (first_token, cached) = (Some(shared.scribe.now() - asked), first.cached_tokens as u64);
        let end = match talk.answer_begins(self.streamed, &address).await {
            Err(()) => End::Cut,
            Ok(_) if self.vanishes => End::Vanished,
            Ok(talk) => self.answered(first, outputs, talk, prompt_tokens).await,
        };
        Ended { end, first_token, cached }
    }

    async fn answered(
        &self,
        first: Output,
        mut outputs: UnboundedReceiver<Output>,
        mut talk: Option<Box<Talk>>,
        prompt_tokens: usize,
    ) -> End {
        let (mut some, mut last) = (vec![first], 0);
        loop {
            let finished = some.last().is_some_and(|output| output.finished);
            let together = if last == 0 { 1 } else { TOGETHER };
            if finished || some.len() >= together && self.streamed {
                last += some.len();
                let chunk = self.chunk(&some, finished.then_some((prompt_tokens, last)));
                if let Some(talk) = &mut talk
                    && talk.chunk(chunk, finished).await.is_err()
                {
                    return End::Cut;
                }
                if finished {
                    return End::Served;
                }
                some.clear();
            }
            match outputs.recv().await {
                Some(output) => some.push(output),
                None => return End::EngineFailed,
            }
        }
    }

    /// A piece of the answer as the engine writes it; with the counts of prompt and answer, the last one.
    fn chunk(&self, outputs: &[Output], usage: Option<(usize, usize)>) -> Vec<u8> {
        let text: String = outputs.iter().flat_map(|output| output.token.to_le_bytes()).map(char::from).collect();
        let usage = usage.map(|(prompt, answer)| {
            let cached = outputs.first().map_or(0, |output| output.cached_tokens);
            format!(
                r#""usage":{{"prompt_tokens":{prompt},"completion_tokens":{answer},"prompt_tokens_details":{{"cached_tokens":{cached}}}}}"#
            )
        });
        match (self.streamed, usage) {
            (false, usage) => {
                format!(r#"{{"choices":[{{"index":0,"text":"{text}"}}],{}}}"#, usage.unwrap_or_default())
            }
            (true, None) => format!("data: {{\"choices\":[{{\"index\":0,\"text\":\"{text}\"}}]}}\n\n"),
            (true, Some(usage)) => format!("data: {{\"choices\":[],{usage}}}\n\ndata: [DONE]\n\n"),
        }
        .into_bytes()
    }
}

// === impl Ended ===

impl Ended {
    fn without_token(end: End) -> Self {
        Self { end, first_token: None, cached: 0 }
    }
}
