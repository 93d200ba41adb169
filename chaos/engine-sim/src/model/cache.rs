//! A paged KV cache with prefix sharing. Full blocks are found by their hash. Unused blocks stay until their room is
//! needed; the tails of the least recently freed chains are evicted first.
//!
//! Must not know requests, only hashes and counts.

use std::collections::BTreeMap;

use murmuration::chance::mix;

/// The blocks of an engine. `held + idle + free == total`, always.
#[derive(Debug)]
pub struct BlockCache {
    total: usize,
    /// Full blocks by hash.
    shared: BTreeMap<u64, Shared>,
    /// Hashes of idle blocks, in the order of eviction.
    idle: BTreeMap<u64, u64>,
    /// Blocks without a hash yet, held by one request.
    private: usize,
    freed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Shared {
    users: u32,
    /// Its key in `idle` while it has no users.
    idle_since: u64,
    /// 0 if it holds what its hash says; else a number of what it holds instead.
    taint: u64,
}

/// What one request holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Full blocks, from the head.
    shared: Vec<u64>,
    /// Blocks that are not full yet.
    private: usize,
}

// === impl BlockCache ===

impl BlockCache {
    /// An empty cache of `total` blocks.
    pub fn new(total: usize) -> Self {
        Self { total, shared: BTreeMap::new(), idle: BTreeMap::new(), private: 0, freed: 0 }
    }

    /// How many blocks of `chain` are cached, counted from its head.
    pub fn matched(&self, chain: &[u64]) -> usize {
        chain.iter().take_while(|hash| self.shared.contains_key(hash)).count()
    }

    /// Takes the first `matched` blocks of `chain`, if `blocks` blocks with these would find room. Without room it
    /// returns `None` and changes nothing.
    pub fn take(&mut self, chain: &[u64], matched: usize, blocks: usize) -> Option<Held> {
        let (matching, private) = (&chain[..matched], blocks.saturating_sub(matched));
        let revived = matching.iter().filter(|hash| self.shared[*hash].users == 0).count();
        if private > self.total - self.held() - revived {
            return None;
        }
        matching.iter().for_each(|hash| self.add_user(*hash, 0));
        Some(Held { shared: matching.to_vec(), private: 0 })
    }

    /// Lets `held` have `blocks` blocks in all. Without room it returns `false` and changes nothing.
    pub fn grow(&mut self, held: &mut Held, blocks: usize) -> bool {
        let more = blocks.saturating_sub(held.shared.len() + held.private);
        if more > self.total - self.held() {
            return false;
        }
        held.private += more;
        self.private += more;
        while self.held() + self.idle.len() > self.total {
            self.evict();
        }
        true
    }

    /// What is wrong with the first `matched` blocks of `chain`; 0 if nothing is.
    pub fn taint(&self, chain: &[u64], matched: usize) -> u64 {
        let taints = chain.iter().take(matched).filter_map(|hash| self.shared.get(hash)).map(|block| block.taint);
        taints.filter(|taint| *taint != 0).fold(0, |all, one| mix(all ^ one))
    }

    /// Records that `held` has its chain up to `full` blocks: they can be shared from now on. `taint` is 0 if they hold
    /// what their hashes say.
    pub fn share(&mut self, held: &mut Held, chain: &[u64], full: usize, taint: u64) {
        for &hash in chain.iter().take(full).skip(held.shared.len()) {
            if held.private == 0 {
                return;
            }
            held.private -= 1;
            self.private -= 1;
            self.add_user(hash, taint);
            held.shared.push(hash);
        }
    }

    /// Releases what a request held. Full blocks stay as idle; tails are evicted first.
    pub fn release(&mut self, held: &Held) {
        self.private -= held.private;
        for hash in held.shared.iter().rev() {
            self.freed += 1;
            let Some(block) = self.shared.get_mut(hash) else { continue };
            block.users -= 1;
            if block.users == 0 {
                block.idle_since = self.freed;
                self.idle.insert(self.freed, *hash);
            }
        }
    }

    /// All blocks.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Blocks held by live requests.
    pub fn held(&self) -> usize {
        self.private + self.shared.len() - self.idle.len()
    }

    /// Blocks without users that can still be found by their hash.
    pub fn idle(&self) -> usize {
        self.idle.len()
    }

    /// `taint` is that of a block that is not there yet.
    fn add_user(&mut self, hash: u64, taint: u64) {
        let block = self.shared.entry(hash).or_insert(Shared { users: 0, idle_since: 0, taint });
        if block.users == 0 {
            self.idle.remove(&block.idle_since);
        }
        block.users += 1;
    }

    fn evict(&mut self) {
        if let Some((_, hash)) = self.idle.pop_first() {
            self.shared.remove(&hash);
        }
    }
}
