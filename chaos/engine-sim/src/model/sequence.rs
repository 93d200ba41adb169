//! One request inside the engine, from the queue to its last token.
//!
//! Must not know other requests.

use murmuration::chance::mix;
use murmuration::time::Timestamp;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Request;
use super::cache::Held;
use super::kept::Received;

/// A request and its progress.
#[derive(Debug)]
pub(super) struct Sequence {
    /// The request, but for its tokens.
    pub(super) request: Request,
    /// Prompt and answer so far.
    pub(super) tokens: Vec<u32>,
    /// Tokens of the prompt.
    pub(super) prompt: usize,
    /// Hashes of the full blocks of `tokens`.
    pub(super) chain: Vec<u64>,
    /// Blocks held.
    pub(super) blocks: Held,
    /// Tokens whose KV is in the cache.
    pub(super) computed: usize,
    /// What another engine computed of it and sent along.
    pub(super) received: Received,
    /// 0 if the KV that it has is that of its tokens; else a number of what it has instead.
    pub(super) taint: u64,
    /// Whether its blocks are kept for another engine when it ends.
    pub(super) keeps: bool,
    /// Prompt tokens that were found in the cache when it first entered the batch.
    pub(super) cached: usize,
    /// Tokens that the current step computes.
    pub(super) chunk: usize,
    /// When it first entered the batch.
    pub(super) admitted: Option<Timestamp>,
    /// How often it lost its blocks to others.
    pub(super) preemptions: u32,
    seed: u64,
    block_tokens: usize,
}

// === impl Sequence ===

impl Sequence {
    pub(super) fn new(mut request: Request, block_tokens: usize) -> Self {
        let tokens = std::mem::take(&mut request.tokens);
        let chain = chain(&tokens, request.adapter.as_deref(), request.salt.as_deref(), block_tokens);
        // The chain stands for all full blocks.
        let rest = &tokens[chain.len() * block_tokens..];
        let seed = rest.iter().fold(chain.last().copied().unwrap_or(7), |seed, &token| mix(seed ^ u64::from(token)));
        Self {
            prompt: tokens.len(),
            tokens,
            request,
            chain,
            blocks: Held::default(),
            computed: 0,
            received: Received::default(),
            taint: 0,
            keeps: false,
            cached: 0,
            chunk: 0,
            admitted: None,
            preemptions: 0,
            seed,
            block_tokens,
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.request.id
    }

    pub(super) fn generated(&self) -> usize {
        self.tokens.len() - self.prompt
    }

    /// Tokens that are to be computed before its next token.
    pub(super) fn rest(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// Whether only its last token is to be computed, one that it generated.
    pub(super) fn is_answering(&self) -> bool {
        self.rest() == 1 && self.generated() > 0
    }

    /// Blocks that its first `tokens` tokens take.
    pub(super) fn blocks_of(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.block_tokens)
    }

    /// Its blocks were taken away: all is to be computed again.
    pub(super) fn preempted(&mut self) {
        (self.blocks, self.computed, self.chunk) = (Held::default(), 0, 0);
        (self.received, self.taint) = (Received::default(), 0);
        self.preemptions += 1;
    }

    /// Adds the answer's next token: a blank and three letters that follow from the KV that it has, so from the prompt
    /// if that is right. So every engine gives the same answer, and the text is tokenized to the same token when it
    /// returns in a later prompt. The answer to another prompt's KV is another one: it is a checksum.
    pub(super) fn generate(&mut self) -> u32 {
        let bits = mix(self.seed ^ self.taint ^ self.generated() as u64);
        let letter = |shift: u64| b'a' + ((bits >> shift) % 26) as u8;
        let token = u32::from_le_bytes([b' ', letter(8), letter(16), letter(24)]);
        self.tokens.push(token);
        if self.tokens.len().is_multiple_of(self.block_tokens) {
            let parent = self
                .chain
                .last()
                .copied()
                .unwrap_or_else(|| seed_of(self.request.adapter.as_deref(), self.request.salt.as_deref()));
            self.chain.push(block_hash(parent, &self.tokens[self.tokens.len() - self.block_tokens..]));
        }
        token
    }
}

/// Hashes of the full blocks of `tokens`.
pub(super) fn chain(tokens: &[u32], adapter: Option<&str>, salt: Option<&str>, block_tokens: usize) -> Vec<u64> {
    let mut parent = seed_of(adapter, salt);
    let mut hash = |block: &[u32]| {
        parent = block_hash(parent, block);
        parent
    };
    tokens.chunks_exact(block_tokens).map(&mut hash).collect()
}

fn seed_of(adapter: Option<&str>, salt: Option<&str>) -> u64 {
    let adapter = xxh3_64_with_seed(adapter.unwrap_or_default().as_bytes(), 1);
    xxh3_64_with_seed(salt.unwrap_or_default().as_bytes(), adapter)
}

fn block_hash(parent: u64, tokens: &[u32]) -> u64 {
    tokens.iter().fold(parent, |hash, &token| mix(hash ^ u64::from(token)))
}
