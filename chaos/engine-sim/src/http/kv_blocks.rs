//! The blocks of an engine that others may read: what lies in each, who keeps it, and for how long.
//!
//! Must not know sockets. As in a real engine, a block's number says nothing of its content: who reads blocks that were
//! freed meanwhile gets what was written there since. The model counts blocks; this table has their contents.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use murmuration::chance::mix;
use murmuration::time::Timestamp;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The blocks of an engine.
#[derive(Debug)]
pub(super) struct KvBlocks {
    /// What was last written to each block, by its number.
    contents: Vec<u64>,
    /// Blocks that nobody keeps; the next ones to be written to come first.
    free: VecDeque<u32>,
    /// Blocks that are kept for other engines, by the name of the request. Leases bound them, and `contents` does.
    kept: BTreeMap<String, Kept>,
    lease: Duration,
    /// Requests whose lease ended before anybody said that it has their blocks.
    pub(super) expired: u64,
}

#[derive(Debug)]
struct Kept {
    blocks: Vec<u32>,
    until: Timestamp,
}

// === impl KvBlocks ===

impl KvBlocks {
    /// The blocks of an engine that was just started; they hold nothing. As in vLLM, the first one is nobody's.
    pub(super) fn new(blocks: usize, lease: Duration) -> Self {
        let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
        let (contents, free) = (vec![0; blocks as usize], (1..blocks).collect());
        Self { contents, free, kept: BTreeMap::new(), lease, expired: 0 }
    }

    /// Writes `contents` to as many free blocks and returns their numbers; without room nothing is written.
    pub(super) fn write(&mut self, contents: &[u64], now: Timestamp) -> Vec<u32> {
        self.expire(now);
        if contents.len() > self.free.len() {
            return Vec::new();
        }
        let blocks: Vec<u32> = self.free.drain(..contents.len()).collect();
        for (block, content) in blocks.iter().zip(contents) {
            self.contents[*block as usize] = *content;
        }
        blocks
    }

    /// Frees blocks; what lies in them stays until they are written to.
    pub(super) fn release(&mut self, blocks: Vec<u32>) {
        self.free.extend(blocks);
    }

    /// Keeps blocks for the time of a lease.
    pub(super) fn keep(&mut self, request: String, blocks: Vec<u32>, now: Timestamp) {
        let until = now + self.lease;
        if let Some(before) = self.kept.insert(request, Kept { blocks, until }) {
            self.release(before.blocks);
        }
    }

    /// What lies in these blocks now. A reader that has begun renews the lease.
    pub(super) fn read(&mut self, request: &str, blocks: &[u32], now: Timestamp) -> Vec<u64> {
        self.expire(now);
        if let Some(kept) = self.kept.get_mut(request) {
            kept.until = now + self.lease;
        }
        blocks.iter().map(|block| self.contents.get(*block as usize).copied().unwrap_or(0)).collect()
    }

    /// The other engine has them.
    pub(super) fn taken(&mut self, request: &str) {
        if let Some(kept) = self.kept.remove(request) {
            self.release(kept.blocks);
        }
    }

    /// Blocks that are kept for other engines.
    pub(super) fn kept(&mut self, now: Timestamp) -> usize {
        self.expire(now);
        self.kept.values().map(|kept| kept.blocks.len()).sum()
    }

    fn expire(&mut self, now: Timestamp) {
        let over: Vec<String> =
            self.kept.iter().filter(|(_, kept)| kept.until <= now).map(|(name, _)| name.clone()).collect();
        for request in over {
            self.taken(&request);
            self.expired += 1;
        }
    }
}

/// What lies in the blocks of a prompt, the last one included if it is not full: a hash of all tokens up to a block's
/// end. Equal beginnings of prompts have equal contents.
pub(super) fn contents(tokens: &[u32], adapter: Option<&str>, salt: Option<&str>, block_tokens: usize) -> Vec<u64> {
    let seed = xxh3_64_with_seed(adapter.unwrap_or_default().as_bytes(), 11);
    let seed = xxh3_64_with_seed(salt.unwrap_or_default().as_bytes(), seed);
    let block = |before: &mut u64, block: &[u32]| {
        *before = block.iter().fold(*before, |hash, token| mix(hash ^ u64::from(*token)));
        Some(*before)
    };
    tokens.chunks(block_tokens.max(1)).scan(seed, block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn kept_blocks_are_not_written_to_until_their_lease_ends() {
        let mut blocks = KvBlocks::new(5, LEASE);
        let first = blocks.write(&[7, 8], at(0));
        blocks.keep("a".to_owned(), first.clone(), at(0));
        assert_eq!(blocks.write(&[1, 2, 3], at(29)), Vec::<u32>::new(), "two are free");
        let others = blocks.write(&[1, 2], at(29));
        blocks.release(others);
        assert_eq!((blocks.read("b", &first, at(29)), blocks.kept(at(29))), (vec![7, 8], 2));
        let _ = blocks.write(&[1, 2, 3, 4], at(31));
        assert_eq!((blocks.read("a", &first, at(31)), blocks.expired), (vec![3, 4], 1));
    }

    #[test]
    fn a_reader_renews_the_lease_and_frees_the_blocks_at_its_end() {
        let mut blocks = KvBlocks::new(3, LEASE);
        let first = blocks.write(&[7, 8], at(0));
        blocks.keep("a".to_owned(), first.clone(), at(0));
        assert_eq!(blocks.read("a", &first, at(20)), [7, 8]);
        assert_eq!(blocks.kept(at(45)), 2);
        blocks.taken("a");
        assert_eq!((blocks.kept(at(46)), blocks.expired, blocks.write(&[1, 2], at(46)).len()), (0, 0, 2));
    }

    #[test]
    fn contents_are_those_of_all_tokens_before_them() {
        let tokens: Vec<u32> = (0..40).collect();
        let (long, short) = (contents(&tokens, None, None, 16), contents(&tokens[..20], None, None, 16));
        assert_eq!((long.len(), short.len(), long[0] == short[0], long[1] == short[1]), (3, 2, true, false));
        assert_ne!(long[0], contents(&tokens, Some("lora-a"), None, 16)[0]);
        assert_ne!(long[0], contents(&tokens, None, Some("tenant"), 16)[0]);
    }
}
