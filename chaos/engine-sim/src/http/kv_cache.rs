//! What an engine with a connector knows of its KV beyond the model: blocks that others read, blocks whose content is
//! wrong, and requests that wait for a transfer.
//!
//! Must not know sockets. An answer of the model follows from its prompt alone. Here it also depends on the KV that the
//! engine really had: a request that was given other blocks than its own is answered with another text, and so is each
//! later one that finds these blocks in the cache. A real engine does the same.

use std::collections::BTreeMap;

use murmuration::chance::mix;
use murmuration::time::Timestamp;
use serde_json::Value;
use tokio::sync::oneshot;

use super::kv_blocks::{KvBlocks, contents};
use super::kv_params::Remote;
use super::side_channel::Side;
use crate::model::{Output, Request};

/// Blocks with wrong content that are remembered; the model's cache has no more blocks than its configuration says.
const WRONG_MAX: usize = 65_536;

/// A request's part in a hand-off.
#[derive(Debug, Default)]
pub(super) struct KvPart {
    /// What its answer names the request that keeps the blocks.
    pub(super) name: String,
    /// Where the parameters of the hand-off go, if its KV is kept for another engine.
    pub(super) kept: Option<oneshot::Sender<Value>>,
    /// What another engine had in the blocks of the prompt.
    pub(super) received: Option<Vec<u64>>,
    /// What is wrong with its embeddings; 0 is nothing.
    pub(super) wrong: u64,
}

/// The state.
#[derive(Debug)]
pub(super) struct KvCache {
    side: Side,
    block_tokens: usize,
    blocks: KvBlocks,
    /// Of blocks in the cache with a wrong content: what it should be, and the difference.
    wrong: BTreeMap<u64, u64>,
    open: BTreeMap<u64, Open>,
}

/// An open request.
#[derive(Debug)]
struct Open {
    part: KvPart,
    /// What lies in its blocks.
    contents: Vec<u64>,
    /// Their numbers, once the prompt is computed.
    blocks: Vec<u32>,
    prompt_tokens: usize,
    /// Tokens that another engine sent.
    received: usize,
    /// What is wrong with its KV.
    wrong: u64,
}

// === impl KvCache ===

impl KvCache {
    pub(super) fn new(side: Side, blocks: KvBlocks, block_tokens: usize) -> Self {
        Self { side, block_tokens, blocks, wrong: BTreeMap::new(), open: BTreeMap::new() }
    }

    /// A request enters the queue, of whose prompt `cached` tokens are in the cache. Returns how many tokens of it
    /// another engine has sent.
    pub(super) fn begin(&mut self, id: u64, request: &Request, cached: usize, part: KvPart) -> usize {
        let tokens = &request.tokens;
        let mut contents = contents(tokens, request.adapter.as_deref(), request.salt.as_deref(), self.block_tokens);
        let received = if part.received.is_some() { tokens.len() } else { 0 };
        let mut wrong = part.wrong;
        for (at, content) in contents.iter_mut().enumerate() {
            let difference = self.difference(at < cached / self.block_tokens, *content, part.received.as_deref(), at);
            if difference != 0 {
                wrong = mix(wrong ^ difference);
                *content ^= difference;
            }
        }
        let prompt_tokens = tokens.len();
        self.open.insert(id, Open { part, contents, blocks: Vec::new(), prompt_tokens, received, wrong });
        received
    }

    /// How the block at this place of a prompt differs from what it should be.
    fn difference(&mut self, cached: bool, due: u64, received: Option<&[u64]>, at: usize) -> u64 {
        if cached {
            return self.wrong.get(&due).copied().unwrap_or(0);
        }
        let difference = received.map_or(0, |received| received.get(at).copied().unwrap_or(0) ^ due);
        if difference == 0 {
            self.wrong.remove(&due);
        } else {
            self.wrong.insert(due, difference);
            if self.wrong.len() > WRONG_MAX {
                self.wrong.pop_first();
            }
        }
        difference
    }

    /// A token was computed: it becomes the one that follows from the KV that there was.
    pub(super) fn token(&mut self, output: &mut Output) {
        let Some(open) = self.open.get_mut(&output.id) else { return };
        if output.index == 0 {
            open.blocks = self.blocks.write(&open.contents, output.at);
        }
        output.cached_tokens = output.cached_tokens.max(open.received);
        output.token = differing(output.token, open.wrong);
        if output.finished {
            self.finish(output);
        }
    }

    /// Its blocks are kept for another engine, or free.
    fn finish(&mut self, last: &Output) {
        let Some(Open { part, prompt_tokens, blocks, .. }) = self.open.remove(&last.id) else { return };
        match part.kept {
            Some(kept) if !blocks.is_empty() => {
                let remote = Remote {
                    engine: self.side.engine.clone(),
                    request: part.name.clone(),
                    host: self.side.address.ip().to_string(),
                    port: self.side.address.port(),
                    blocks: vec![blocks.clone()],
                };
                self.blocks.keep(part.name, blocks, last.at);
                let _ = kept.send(remote.answer(prompt_tokens, last.cached_tokens));
            }
            _ => self.blocks.release(blocks),
        }
    }

    /// A request was given up.
    pub(super) fn give_up(&mut self, id: u64) {
        if let Some(open) = self.open.remove(&id) {
            self.blocks.release(open.blocks);
        }
    }

    /// Another engine reads blocks; `None` if it means another engine, or an earlier start of this one.
    pub(super) fn read(&mut self, remote: &Remote, now: Timestamp) -> Option<Vec<u64>> {
        (remote.engine == self.side.engine).then(|| self.blocks.read(&remote.request, remote.block_ids(), now))
    }

    /// Another engine has what it read.
    pub(super) fn taken(&mut self, request: &str) {
        self.blocks.taken(request);
    }

    /// Blocks that are kept for other engines.
    pub(super) fn kept(&mut self, now: Timestamp) -> usize {
        self.blocks.kept(now)
    }
}

/// The token that takes the place of `token` where the KV is wrong: a blank and three other letters.
fn differing(token: u32, wrong: u64) -> u32 {
    if wrong == 0 {
        return token;
    }
    let [blank, letters @ ..] = token.to_le_bytes();
    let turned = |letter: u8, shift: u64| {
        b'a' + ((u64::from(letter.saturating_sub(b'a')) + 1 + (wrong >> shift) % 25) % 26) as u8
    };
    let [first, second, third] = letters;
    u32::from_le_bytes([blank, turned(first, 0), turned(second, 8), turned(third, 16)])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;

    fn cache(engine: &str) -> KvCache {
        let side = Side { engine: engine.to_owned(), address: SocketAddr::from(([127, 0, 0, 1], 5600)) };
        KvCache::new(side, KvBlocks::new(8, Duration::from_secs(30)), 4)
    }

    fn request(first: u32) -> Request {
        Request { id: 1, tokens: (first..first + 10).collect(), adapter: None, salt: None, max_tokens: 1 }
    }

    fn last(id: u64) -> Output {
        let (at, token) = (Timestamp::from_millis(5), u32::from_le_bytes(*b" abc"));
        Output { id, at, admitted: at, token, index: 0, cached_tokens: 0, preemptions: 0, finished: true }
    }

    /// The parameters that an engine hands out for a prompt.
    fn handed_out(cache: &mut KvCache, id: u64, request: &Request) -> Remote {
        let (kept, parameters) = oneshot::channel();
        cache.begin(id, request, 0, KvPart { name: format!("r{id}"), kept: Some(kept), ..KvPart::default() });
        cache.token(&mut last(id));
        let mut parameters = parameters;
        let super::super::kv_params::KvAsk::Pull(remote) =
            super::super::kv_params::KvAsk::read(Some(&parameters.try_recv().unwrap()))
        else {
            panic!("no hand-off")
        };
        remote
    }

    /// The token that an engine answers with when it is given this.
    fn answered(cache: &mut KvCache, id: u64, request: &Request, cached: usize, received: Option<Vec<u64>>) -> u32 {
        cache.begin(id, request, cached, KvPart { received, ..KvPart::default() });
        let mut output = last(id);
        cache.token(&mut output);
        output.token
    }

    #[test]
    fn the_right_blocks_give_the_right_answer() {
        let (mut prefill, mut decode) = (cache("p"), cache("d"));
        let remote = handed_out(&mut prefill, 1, &request(0));
        assert_eq!((remote.block_ids().len(), prefill.kept(last(1).at)), (3, 3));
        let received = prefill.read(&remote, last(1).at);
        assert_eq!(answered(&mut decode, 7, &request(0), 0, received), last(7).token);
        prefill.taken(&remote.request);
        assert_eq!(prefill.kept(last(1).at), 0);
    }

    /// As with a real engine (recorded with vLLM 0.32.0): the status is 200, the text is wrong, and it stays wrong.
    #[test]
    fn blocks_that_were_written_to_meanwhile_give_a_wrong_answer_now_and_later() {
        let (mut prefill, mut decode) = (cache("p"), cache("d"));
        let remote = handed_out(&mut prefill, 1, &request(0));
        prefill.taken(&remote.request);
        for id in 2..5 {
            let others = handed_out(&mut prefill, id, &request(100 * id as u32));
            prefill.taken(&others.request);
        }
        let received = prefill.read(&remote, last(1).at);
        assert_ne!(answered(&mut decode, 7, &request(0), 0, received), last(7).token);
        assert_ne!(answered(&mut decode, 8, &request(0), 8, None), last(8).token, "its blocks are in the cache");
        assert_eq!(answered(&mut decode, 9, &request(0), 0, None), last(9).token, "it is computed anew");
        assert_eq!(answered(&mut decode, 10, &request(0), 8, None), last(10).token);
    }

    #[test]
    fn an_engine_that_started_again_has_nothing_of_before() {
        let remote = handed_out(&mut cache("p"), 1, &request(0));
        assert_eq!(cache("p, started again").read(&remote, last(1).at), None);
    }

    #[test]
    fn a_wrong_token_is_another_one_of_the_same_form() {
        for wrong in 1..1_000_u64 {
            let token = differing(last(1).token, mix(wrong)).to_le_bytes();
            assert!(token[0] == b' ' && token[1..].iter().all(u8::is_ascii_lowercase), "{token:?}");
            assert_ne!(token, *b" abc");
        }
    }
}
