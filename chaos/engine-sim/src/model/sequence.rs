//! One request inside the engine, from the queue to its last token.
//!
//! Must not know other requests.

use murmuration::chance::mix;
use murmuration::time::Timestamp;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Request;
use super::cache::Held;

/// A request and its progress.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) request: Request,
    /// Prompt and answer so far.
    pub(super) tokens: Vec<u32>,
    /// Hashes of the full blocks of `tokens`.
    pub(super) chain: Vec<u64>,
    /// Blocks held.
    pub(super) blocks: Held,
    /// Prompt tokens that are in the cache or computed.
    pub(super) computed: usize,
    /// Prompt tokens that were found in the cache.
    pub(super) cached: usize,
    /// Prompt tokens that the current step computes.
    pub(super) chunk: usize,
    /// When it entered the batch.
    pub(super) admitted: Timestamp,
    /// Whether the current step computes the answer's next token.
    pub(super) answering: bool,
    seed: u64,
    block_tokens: usize,
}

// === impl Sequence ===

impl Sequence {
    pub(super) fn new(request: Request, block_tokens: usize) -> Self {
        let chain = chain(&request.tokens, request.adapter.as_deref(), request.salt.as_deref(), block_tokens);
        let seed =
            request.tokens.iter().fold(chain.last().copied().unwrap_or(7), |seed, &token| mix(seed ^ u64::from(token)));
        Self {
            tokens: request.tokens.clone(),
            request,
            chain,
            blocks: Held::default(),
            computed: 0,
            cached: 0,
            chunk: 0,
            admitted: Timestamp::ZERO,
            answering: false,
            seed,
            block_tokens,
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.request.id
    }

    pub(super) fn generated(&self) -> usize {
        self.tokens.len() - self.request.tokens.len()
    }

    /// Blocks that the prompt and the whole answer take.
    pub(super) fn blocks_needed(&self) -> usize {
        (self.request.tokens.len() + self.request.max_tokens.max(1)).div_ceil(self.block_tokens)
    }

    /// Adds the answer's next token: a blank and three letters that follow from the prompt. So every engine gives the
    /// same answer, and the text is tokenized to the same token when it returns in a later prompt.
    pub(super) fn generate(&mut self) -> u32 {
        let bits = mix(self.seed ^ self.generated() as u64);
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
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
    xxh3_64_with_seed(&bytes, parent)
}
