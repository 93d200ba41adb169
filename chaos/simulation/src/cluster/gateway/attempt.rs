//! One client request, from its start to its end.
//!
//! Must not know other requests.

use std::net::SocketAddr;
use std::time::Duration;

use murmuration::id::EndpointId;
use tokio::time::sleep;

use super::Shared;
use super::legs::Split;
use super::verified::{RightAnswer, Verified};
use crate::cluster::ext_proc_call::{self, Answer, ExtProcCall};
use crate::cluster::prompt::Prompt;
use crate::history::{End, Fact, Source};
use murmuration_engine_sim::model::{Output, Request};

/// Replicas to try, at most.
const TRIES: u32 = 3;
/// Tokens of a streamed response that are sent to the replica in one chunk, after the first token.
const TOKENS_PER_CHUNK: usize = 8;
/// How long the gateway waits for an engine that it cannot reach.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A client request.
pub(super) struct ClientRequest {
    pub(super) number: u64,
    pub(super) prompt: Prompt,
    pub(super) tokens: u32,
    pub(super) streamed: bool,
    pub(super) vanishes: bool,
    /// The engines of the gateway's subset; empty for all.
    pub(super) subset: Vec<usize>,
}

/// A request that a replica placed.
struct Placed {
    replica: usize,
    address: SocketAddr,
    /// Who may prefill for it, the best first.
    prefillers: Vec<SocketAddr>,
    /// The ext-proc stream that its response is sent over.
    call: Box<ExtProcCall>,
}

/// How a request ended, and its figures until then.
struct Ended {
    end: End,
    first_token: Option<Duration>,
    cached: u64,
}

// === impl ClientRequest ===

impl ClientRequest {
    /// Asks replicas until one answers, then the engine.
    pub(super) async fn run(self, shared: &Shared) {
        let asked = shared.recorder.now();
        let text = self.prompt.text();
        let tokens = Prompt::tokens(&text);
        let length = tokens.len() as u64;
        let ended = match self.placed(shared, &text).await {
            Ok(placed) => self.served(shared, placed, &text, tokens, asked).await,
            Err(end) => Ended::without_token(end),
        };
        let Ended { end, first_token, cached } = ended;
        let fact = Fact::Done { request: self.number, end, first_token, prompt: (length, cached) };
        shared.recorder.write(Source::Client, fact);
    }

    /// Where the request goes.
    async fn placed(&self, shared: &Shared, text: &str) -> Result<Placed, End> {
        let request = self.number;
        let write = |fact| shared.recorder.write(Source::Client, fact);
        let subset: Vec<SocketAddr> = self.subset.iter().map(|engine| shared.directory.address(*engine)).collect();
        let admitted: Vec<EndpointId> = self.subset.iter().map(|engine| shared.directory.id(*engine)).collect();
        let body = Prompt::body(text, self.tokens, self.streamed);
        let mut tried = Vec::new();
        for attempt in 0..TRIES {
            let replica = shared.next(&tried);
            tried.push(replica);
            write(Fact::Asked { request, replica, attempt, subset: admitted.clone() });
            match ext_proc_call::ask(shared.ways[replica].clone(), &format!("request-{request}"), &subset, &body).await
            {
                Answer::Sent(address, prefillers, call) => {
                    let name = |at| shared.directory.at(at).map(|engine| shared.directory.id(engine));
                    let to = name(address);
                    write(Fact::Sent { request, replica, to: to.clone() });
                    if !prefillers.is_empty() {
                        write(Fact::Paired {
                            request,
                            replica,
                            prefill: prefillers.iter().map(|at| name(*at)).collect(),
                        });
                    }
                    return to.map(|_| Placed { replica, address, prefillers, call }).ok_or(End::EngineFailed);
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

    /// Passes the engine's response through the replica, if the replica keeps the stream open for it.
    async fn served(&self, shared: &Shared, placed: Placed, text: &str, tokens: Vec<u32>, asked: Duration) -> Ended {
        let Placed { replica, address, prefillers, call } = placed;
        let Some(to) = shared.engine_at(address) else { return Ended::without_token(End::EngineFailed) };
        if !shared.reaches(to) {
            sleep(CONNECT_TIMEOUT).await;
            return Ended::without_token(End::EngineFailed);
        }
        let max_tokens = self.tokens as usize;
        let request = Request { id: self.number, tokens, adapter: None, salt: None, max_tokens };
        let prompt_tokens = request.tokens.len();
        let mut right = RightAnswer::to(&request, to);
        let outputs = if prefillers.is_empty() {
            shared.engines[to].ask(request, shared.recorder.moment())
        } else {
            let body = Prompt::body(text, self.tokens, self.streamed);
            Split { planner: replica, prefillers: &prefillers, decode: to, request, body: &body }.answer(shared).await
        };
        let Some(mut outputs) = outputs else { return Ended::without_token(End::EngineFailed) };
        let Some(first) = outputs.recv().await else { return Ended::without_token(End::EngineFailed) };
        let (first_token, cached) = (Some(shared.recorder.now() - asked), first.cached_tokens as u64);
        right.check(shared, &first);
        let end = match call.answer_begins(self.streamed, &address).await {
            Err(()) => End::Cut,
            Ok(_) if self.vanishes => End::Vanished,
            Ok(call) => self.answered(first, Verified { shared, outputs, right }, call, prompt_tokens).await,
        };
        Ended { end, first_token, cached }
    }

    async fn answered(
        &self,
        first: Output,
        mut outputs: Verified<'_>,
        mut ext_proc_call: Option<Box<ExtProcCall>>,
        prompt_tokens: usize,
    ) -> End {
        let (mut pending, mut last) = (vec![first], 0);
        loop {
            let finished = pending.last().is_some_and(|output| output.finished);
            let chunk_tokens = if last == 0 { 1 } else { TOKENS_PER_CHUNK };
            if finished || pending.len() >= chunk_tokens && self.streamed {
                last += pending.len();
                let chunk = self.chunk(&pending, finished.then_some((prompt_tokens, last)));
                if let Some(ext_proc_call) = &mut ext_proc_call
                    && ext_proc_call.chunk(&chunk, finished).await.is_err()
                {
                    return End::Cut;
                }
                if finished {
                    return End::Served;
                }
                pending.clear();
            }
            match outputs.next().await {
                Some(output) => pending.push(output),
                None => return End::EngineFailed,
            }
        }
    }

    /// A chunk of the response as the engine writes it. `usage` is given with the last one: prompt and answer tokens.
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
