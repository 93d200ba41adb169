//! Runs: stretches of consecutive anchors without a branch, kept once for all holders.
//!
//! Must not know who holds them; only where the list of holds begins.

use super::holds::NONE;
use super::table::Table;
use crate::id::BlockHash;

/// Approximate bytes that the allocator adds to each allocation.
const ALLOCATION: usize = 16;

/// A stretch of blocks. The runs that follow it are found by the chain's next block.
#[derive(Debug)]
pub(super) struct Run {
    blocks: Box<[BlockHash]>,
    first_hold: u32,
    /// Anchors of the chain before it.
    start: u32,
}

/// All runs.
#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: Vec<Run>,
    free: Vec<u32>,
    by_first: Table,
    blocks: usize,
}

// === impl Runs ===

impl Runs {
    pub(super) fn find(&self, first: BlockHash) -> Option<u32> {
        self.by_first.find(first, |run| self.runs[run as usize].blocks[0])
    }

    pub(super) fn blocks(&self, run: u32) -> &[BlockHash] {
        &self.runs[run as usize].blocks
    }

    pub(super) fn first_hold(&self, run: u32) -> u32 {
        self.runs[run as usize].first_hold
    }

    pub(super) fn set_first_hold(&mut self, run: u32, hold: u32) {
        self.runs[run as usize].first_hold = hold;
    }

    /// Anchors of the chain before `run`.
    pub(super) fn start(&self, run: u32) -> u32 {
        self.runs[run as usize].start
    }

    /// A new run of `blocks`, which is not empty and begins after `start` anchors; `None` when all numbers are in use.
    pub(super) fn add(&mut self, blocks: &[BlockHash], start: u32) -> Option<u32> {
        let run = Run { blocks: blocks.into(), first_hold: NONE, start };
        self.blocks += blocks.len();
        let number = match self.free.pop() {
            Some(number) => {
                self.runs[number as usize] = run;
                number
            }
            None => {
                let number = u32::try_from(self.runs.len()).ok().filter(|&number| number < NONE)?;
                self.runs.push(run);
                number
            }
        };
        let runs = &self.runs;
        self.by_first.insert(number, |run| runs[run as usize].blocks[0]);
        Some(number)
    }

    /// Splits `run` after its first `at` blocks; returns the number of the new run that has the others.
    pub(super) fn split(&mut self, run: u32, at: usize) -> Option<u32> {
        let blocks = std::mem::take(&mut self.runs[run as usize].blocks);
        self.runs[run as usize].blocks = blocks[..at].into();
        self.blocks -= blocks.len() - at;
        // A run has far fewer than 2^32 anchors.
        self.add(&blocks[at..], self.start(run) + at as u32)
    }

    /// Keeps only the first `most` blocks of `run`; zero removes the run.
    pub(super) fn keep(&mut self, run: u32, most: usize) {
        let len = self.blocks(run).len();
        if most >= len {
            return;
        }
        self.blocks -= len - most;
        if most > 0 {
            let kept = self.runs[run as usize].blocks[..most].into();
            self.runs[run as usize].blocks = kept;
            return;
        }
        let runs = &self.runs;
        self.by_first.remove(run, |run| runs[run as usize].blocks[0]);
        self.runs[run as usize].blocks = Box::default();
        self.free.push(run);
    }

    pub(super) fn bytes(&self) -> usize {
        let used = self.runs.len() - self.free.len();
        let blocks = self.blocks * size_of::<BlockHash>() + used * ALLOCATION;
        blocks + used * size_of::<Run>() + self.by_first.bytes()
    }

    #[cfg(test)]
    pub(super) fn living(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.runs.len() as u32).filter(|run| !self.runs[*run as usize].blocks.is_empty())
    }
}
