//! Which endpoint holds how much of which chain: the approximate prefix index of a pool.
//!
//! Must not know endpoints' names, only slots; nor engines, only what was sent where.
//!
//! Its input is anchors ([`anchors`]), and it counts the blocks that they stand for. A chained hash stands for all
//! content before it too. So chains form a forest, and a slot that holds an anchor holds all before it. A `Run` is a
//! stretch of anchors without a branch, kept once for all holders. A `Hold` is how much of one run one slot has. Each
//! slot's holds form a list by recency, in which a run's descendants are older than the run. So evicting the oldest
//! takes tails before heads, as vLLM does: a head without its tail is useful, a tail without its head is not.

mod holds;
mod runs;
mod table;

use crate::id::{BlockHash, Slot};
use crate::prefix::{PlacedAt, anchors, shared};
use holds::{Holds, NONE};
use runs::Runs;

/// The fraction of a slot's blocks (one in so many) that is evicted at once when the index as a whole is full. So one
/// search for the largest slot frees many blocks.
const EVICTED_AT_ONCE: u64 = 64;

/// The approximate prefix index of a pool.
#[derive(Debug)]
pub struct PrefixIndex {
    runs: Runs,
    holds: Holds,
    bytes_max: usize,
    evicted: u64,
    /// The blocks that a number of anchors stand for, counted from the head of a chain.
    weigh: fn(u32) -> u32,
    /// Scratch: the path of the chain that is being inserted or shortened.
    path: Vec<PathStep>,
}

/// The end of a chain that some slot holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tip(u32);

/// One step along a chain: a run, where it begins in the chain, and how much of it the chain shares.
#[derive(Clone, Copy, Debug)]
struct PathStep {
    run: u32,
    start: usize,
    shared: usize,
}

// === impl PrefixIndex ===

impl PrefixIndex {
    /// An empty index that takes at most about `bytes_max` bytes, all slots together. When full, the slot that holds
    /// most loses its oldest tails.
    pub fn new(bytes_max: usize) -> Self {
        Self::weighing(bytes_max, anchors::blocks)
    }

    fn weighing(bytes_max: usize, weigh: fn(u32) -> u32) -> Self {
        Self { runs: Runs::default(), holds: Holds::default(), bytes_max, evicted: 0, weigh, path: Vec::new() }
    }

    /// Sets how many blocks `slot` can hold; blocks beyond are evicted at once, tails of the least recently used first.
    pub fn set_capacity(&mut self, slot: Slot, blocks: u64) {
        self.holds.holdings(slot).capacity = blocks;
        self.fit(slot);
    }

    /// Records that `slot` was sent a prompt with these anchors at `placed`: all of it is now the most recently used,
    /// its head newest. Returns how many of the anchors it held before. One without a capacity holds nothing.
    pub fn insert_at(&mut self, slot: Slot, chain: &[BlockHash], placed: PlacedAt) -> usize {
        self.find_path(chain, true);
        let path = std::mem::take(&mut self.path);
        let mut held_before = path.last().map_or(0, |step| step.start + step.shared);
        // Tails first, so that the head ends as the newest.
        let mut below = NONE;
        for step in path.iter().rev() {
            let (hold, had) = self.hold_at_least(slot, step.run, step.shared, placed);
            held_before = if had < step.shared { step.start + had } else { held_before };
            if below != NONE && self.holds.get(below).parent == NONE {
                self.holds.adopt(hold, below);
            }
            self.holds.touch(hold, placed);
            below = hold;
        }
        self.path = path;
        self.fit(slot);
        self.fit_bytes();
        held_before
    }

    /// Records that `slot` was sent a prompt with these anchors at an unknown time.
    pub fn insert(&mut self, slot: Slot, chain: &[BlockHash]) {
        self.insert_at(slot, chain, PlacedAt::UNKNOWN);
    }

    /// Records that `slot` holds only the first `held` anchors of `chain`, and those that its other chains build upon.
    pub fn shorten(&mut self, slot: Slot, chain: &[BlockHash], held: usize) {
        self.find_path(chain, false);
        let path = std::mem::take(&mut self.path);
        for step in path.iter().rev().filter(|step| step.start + step.shared > held) {
            let Some(hold) = self.hold_of(slot, step.run) else {
                continue;
            };
            let (children, len) = (self.holds.get(hold).children, self.holds.get(hold).len as usize);
            // More than this chain covers: another, longer chain needs all of it.
            if children > 0 || len > step.shared {
                break;
            }
            self.trim(hold, held.saturating_sub(step.start).min(len) as u32);
        }
        self.path = path;
    }

    /// Forgets all of `slot`, including its capacity.
    pub fn clear(&mut self, slot: Slot) {
        while let Some(oldest) = self.holds.oldest(slot) {
            self.trim(oldest, 0);
        }
        self.holds.holdings(slot).capacity = 0;
    }

    /// Forgets what `slot` was sent at `at` or before; what it was sent later stays, and so does its capacity.
    pub fn forget_until(&mut self, slot: Slot, at: PlacedAt) {
        for hold in self.holds.placed_until(slot, at) {
            self.trim(hold, 0);
        }
    }

    /// For each slot that holds some of `chain`, sets `matches[slot]` to the number of its anchors held from the head
    /// without a gap. `matches` must be all zero. One walk serves all slots.
    pub fn walk(&self, chain: &[BlockHash], matches: &mut [u32]) {
        let mut start = 0;
        while let Some(run) = chain.get(start).and_then(|&first| self.found_at(first, start)) {
            let blocks = self.runs.blocks(run);
            let shared = shared(blocks, &chain[start..]);
            let mut hold = self.runs.first_hold(run);
            while hold != NONE {
                let holding = self.holds.get(hold);
                if let Some(matched) = matches.get_mut(holding.slot.index()) {
                    // A chain has far fewer than 2^32 blocks.
                    *matched = (start + shared.min(holding.len as usize)) as u32;
                }
                hold = holding.next_on_run;
            }
            if shared < blocks.len() {
                return;
            }
            start += shared;
        }
    }

    /// The longest chains that `slot` holds and when it was last sent each, at most `most`, the most recently used
    /// last. Inserting them in this order into an empty index restores what this one believes of the slot.
    pub fn chains(&self, slot: Slot, most: usize) -> Vec<(Vec<BlockHash>, PlacedAt)> {
        self.tips(slot, most).into_iter().filter_map(|tip| self.chain_of(slot, tip)).collect()
    }

    /// The ends of those chains, in the same order. They stay valid while the index changes: see [`Self::chain_of`].
    pub(crate) fn tips(&self, slot: Slot, most: usize) -> Vec<Tip> {
        let tips = self.holds.by_age(slot).filter(|&hold| self.holds.get(hold).children == 0);
        let mut tips: Vec<_> = tips.take(most).map(Tip).collect();
        tips.reverse();
        tips
    }

    /// The chain that ends in `tip`, and when the slot was last sent it; `None` when `slot` holds nothing there now.
    pub(crate) fn chain_of(&self, slot: Slot, tip: Tip) -> Option<(Vec<BlockHash>, PlacedAt)> {
        // A removed hold covers nothing, and one that reuses its number is an equally good end of a chain.
        let hold = self.holds.get(tip.0);
        (hold.slot == slot && hold.len > 0).then(|| (self.chain(tip.0), hold.placed))
    }

    fn chain(&self, tip: u32) -> Vec<BlockHash> {
        let mut runs = Vec::new();
        let (mut at, mut below) = (tip, u32::MAX);
        // A parent begins before its child, so this ends.
        while at != NONE && self.runs.start(self.holds.get(at).run) < below {
            let hold = self.holds.get(at);
            below = self.runs.start(hold.run);
            runs.push(&self.runs.blocks(hold.run)[..hold.len as usize]);
            at = hold.parent;
        }
        runs.into_iter().rev().flatten().copied().collect()
    }

    /// A number that is equal for two slots, of any index, that are believed to hold the same. It is updated as the
    /// index changes, so that reading it costs nothing.
    pub fn fingerprint(&self, slot: Slot) -> u64 {
        self.holds.fingerprint(slot)
    }

    /// Blocks that `slot` is believed to hold.
    pub fn held(&self, slot: Slot) -> u64 {
        self.holds.blocks(slot)
    }

    /// Bytes that the index takes now.
    pub fn bytes(&self) -> usize {
        self.runs.bytes() + self.holds.bytes()
    }

    /// Blocks held, counted once for each holder.
    pub fn holder_blocks(&self) -> u64 {
        self.holds.blocks_in_all()
    }

    /// Blocks evicted so far for lack of room.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Finds the runs along `chain`. With `make`, it splits a run that the chain leaves or ends in: what lies beyond
    /// was not used now, and must not count as used. Unknown anchors become a new run, to cover the whole chain.
    fn find_path(&mut self, chain: &[BlockHash], make: bool) {
        self.path.clear();
        let mut start = 0;
        while start < chain.len() {
            let rest = &chain[start..];
            let Some(run) = self.found_at(rest[0], start) else {
                if make
                    && self.runs.find(rest[0]).is_none()
                    && let Some(run) = self.runs.add(rest, start as u32)
                {
                    self.path.push(PathStep { run, start, shared: rest.len() });
                }
                return;
            };
            let known = self.runs.blocks(run).len();
            let shared = shared(self.runs.blocks(run), rest);
            if make && shared < known && !self.split(run, shared) {
                return;
            }
            self.path.push(PathStep { run, start, shared });
            if shared < known && !make {
                return;
            }
            start += shared;
        }
    }

    /// The run that begins with `first` after `start` anchors. An anchor stands for everything before it, so it has one
    /// place in all chains. One in another place is a collision or invalid, and ends the path.
    fn found_at(&self, first: BlockHash, start: usize) -> Option<u32> {
        self.runs.find(first).filter(|&run| self.runs.start(run) as usize == start)
    }

    /// Splits `run` so that its first `at` blocks keep its number; `false` when there is no room for another run.
    fn split(&mut self, run: u32, at: usize) -> bool {
        let Some(lower) = self.runs.split(run, at) else {
            return false;
        };
        let mut hold = self.runs.first_hold(run);
        self.runs.set_first_hold(run, NONE);
        while hold != NONE {
            let next = self.holds.get(hold).next_on_run;
            if self.holds.get(hold).len as usize > at {
                // The old hold becomes the lower one, so holds that build upon it keep their parent.
                let upper = self.holds.split_above(hold, run, at as u32);
                self.holds.get_mut(hold).run = lower;
                self.link(lower, hold);
                self.link(run, upper);
            } else {
                self.link(run, hold);
            }
            hold = next;
        }
        true
    }

    fn link(&mut self, run: u32, hold: u32) {
        self.holds.get_mut(hold).next_on_run = self.runs.first_hold(run);
        self.runs.set_first_hold(run, hold);
    }

    fn hold_of(&self, slot: Slot, run: u32) -> Option<u32> {
        let mut hold = self.runs.first_hold(run);
        while hold != NONE && self.holds.get(hold).slot != slot {
            hold = self.holds.get(hold).next_on_run;
        }
        (hold != NONE).then_some(hold)
    }

    /// Blocks that the anchors `from..to` of `run` stand for.
    fn weight(&self, run: u32, from: u32, to: u32) -> u64 {
        let start = self.runs.start(run);
        u64::from((self.weigh)(start + to).saturating_sub((self.weigh)(start + from)))
    }

    /// The sum of the anchors `from..to` of `run`: an anchor stands for its whole chain, so their order is irrelevant.
    fn sum(&self, run: u32, from: u32, to: u32) -> u64 {
        let anchors = &self.runs.blocks(run)[from as usize..to as usize];
        anchors.iter().fold(0, |sum, anchor| sum.wrapping_add(anchor.0))
    }

    /// The hold of `slot` on `run`, made or grown to cover `len` of it; and how much of it the slot had.
    fn hold_at_least(&mut self, slot: Slot, run: u32, len: usize, placed: PlacedAt) -> (u32, usize) {
        let len = len as u32;
        match self.hold_of(slot, run) {
            Some(hold) => {
                let had = self.holds.get(hold).len;
                if had < len {
                    self.holds.refingerprint(slot, self.sum(run, had, len), 0);
                    self.holds.grow(hold, len, self.weight(run, had, len));
                }
                (hold, had as usize)
            }
            None => {
                self.holds.refingerprint(slot, self.sum(run, 0, len), 0);
                let hold = self.holds.add(slot, run, len, self.weight(run, 0, len), placed);
                self.link(run, hold);
                (hold, 0)
            }
        }
    }

    /// Leaves only the first `len` anchors to `hold`; removes the hold, and then the run, when nothing is left.
    fn trim(&mut self, hold: u32, len: u32) {
        let run = self.holds.get(hold).run;
        let had = self.holds.get(hold).len;
        self.holds.refingerprint(self.holds.get(hold).slot, 0, self.sum(run, len, had));
        self.holds.shrink(hold, len, self.weight(run, len, had));
        if self.holds.get(hold).len == 0 {
            self.unlink(run, hold);
            self.holds.remove(hold);
        }
        let mut most = 0;
        let mut other = self.runs.first_hold(run);
        while other != NONE {
            most = most.max(self.holds.get(other).len as usize);
            other = self.holds.get(other).next_on_run;
        }
        self.runs.keep(run, most);
    }

    fn unlink(&mut self, run: u32, hold: u32) {
        let next = self.holds.get(hold).next_on_run;
        let mut at = self.runs.first_hold(run);
        if at == hold {
            self.runs.set_first_hold(run, next);
            return;
        }
        while at != NONE {
            let following = self.holds.get(at).next_on_run;
            if following == hold {
                self.holds.get_mut(at).next_on_run = next;
                return;
            }
            at = following;
        }
    }

    /// Evicts until `slot` is within its capacity.
    fn fit(&mut self, slot: Slot) {
        let capacity = self.holds.holdings(slot).capacity;
        self.evict(slot, self.holds.blocks(slot).saturating_sub(capacity));
    }

    fn fit_bytes(&mut self) {
        while self.bytes() > self.bytes_max {
            let Some(largest) = self.holds.largest() else { return };
            self.evict(largest, (self.holds.blocks(largest) / EVICTED_AT_ONCE).max(1));
        }
    }

    fn evict(&mut self, slot: Slot, mut excess: u64) {
        while excess > 0 {
            let Some(oldest) = self.holds.oldest(slot) else { return };
            let (run, had) = (self.holds.get(oldest).run, self.holds.get(oldest).len);
            let mut kept = had;
            while kept > 0 && self.weight(run, kept, had) < excess {
                kept -= 1;
            }
            let taken = self.weight(run, kept, had);
            self.trim(oldest, kept);
            self.evicted += taken;
            excess = excess.saturating_sub(taken);
        }
    }
}

#[cfg(test)]
mod tests;
