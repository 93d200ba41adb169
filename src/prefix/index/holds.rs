//! Holds: how much of one run one slot has, in a list for each slot by recency.
//!
//! Must not know what is in a run.

use crate::id::Slot;
use crate::prefix::PlacedAt;

/// No hold, or no run.
pub(super) const NONE: u32 = u32::MAX;

/// How much of one run one slot has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    pub(super) run: u32,
    /// Anchors, from the run's start.
    pub(super) len: u32,
    /// The slot's hold on the run before this one.
    pub(super) parent: u32,
    /// Holds of the slot whose parent this is.
    pub(super) children: u32,
    /// The next hold, of another slot, on the same run.
    pub(super) next_on_run: u32,
    newer: u32,
    older: u32,
    /// When the slot was last sent a prompt that covers this hold. Never later than its parent's.
    pub(super) placed: PlacedAt,
    pub(super) slot: Slot,
}

/// What one slot holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotHoldings {
    /// Blocks that it may hold.
    pub(super) capacity: u64,
    blocks: u64,
    /// Sum of all anchors that are held.
    fingerprint: u64,
    newest: u32,
    oldest: u32,
}

/// All holds.
#[derive(Debug, Default)]
pub(super) struct Holds {
    holds: Vec<Hold>,
    free: Vec<u32>,
    slots: Vec<SlotHoldings>,
}

// === impl Holds ===

impl Holds {
    pub(super) fn get(&self, hold: u32) -> &Hold {
        &self.holds[hold as usize]
    }

    pub(super) fn get_mut(&mut self, hold: u32) -> &mut Hold {
        &mut self.holds[hold as usize]
    }

    pub(super) fn holdings(&mut self, slot: Slot) -> &mut SlotHoldings {
        if self.slots.len() <= slot.index() {
            let empty = SlotHoldings { capacity: 0, blocks: 0, fingerprint: 0, newest: NONE, oldest: NONE };
            self.slots.resize(slot.index() + 1, empty);
        }
        &mut self.slots[slot.index()]
    }

    pub(super) fn blocks(&self, slot: Slot) -> u64 {
        self.slots.get(slot.index()).map_or(0, |holdings| holdings.blocks)
    }

    /// A number that is equal for slots that hold the same.
    pub(super) fn fingerprint(&self, slot: Slot) -> u64 {
        self.slots.get(slot.index()).map_or(0, |holdings| holdings.fingerprint)
    }

    /// Updates the fingerprint: `slot` now holds anchors that sum up to `gained`, and no longer those that sum up to
    /// `lost`.
    pub(super) fn refingerprint(&mut self, slot: Slot, gained: u64, lost: u64) {
        let holdings = self.holdings(slot);
        holdings.fingerprint = holdings.fingerprint.wrapping_add(gained).wrapping_sub(lost);
    }

    pub(super) fn blocks_in_all(&self) -> u64 {
        self.slots.iter().map(|holdings| holdings.blocks).sum()
    }

    pub(super) fn oldest(&self, slot: Slot) -> Option<u32> {
        self.slots.get(slot.index()).map(|holdings| holdings.oldest).filter(|&hold| hold != NONE)
    }

    /// The slot's holds that were placed at `at` or before, the oldest first: a hold comes after those that build upon
    /// it.
    pub(super) fn placed_until(&self, slot: Slot, at: PlacedAt) -> Vec<u32> {
        let mut old: Vec<u32> = self.by_age(slot).filter(|&hold| self.get(hold).placed <= at).collect();
        old.reverse();
        old
    }

    /// The slot's holds, the newest first.
    pub(super) fn by_age(&self, slot: Slot) -> impl Iterator<Item = u32> + '_ {
        let newest = self.slots.get(slot.index()).map(|holdings| holdings.newest).filter(|&hold| hold != NONE);
        std::iter::successors(newest, |&hold| Some(self.get(hold).older).filter(|&older| older != NONE))
    }

    /// The slot that holds the most, the first of several; `None` when no slot holds anything.
    pub(super) fn largest(&self) -> Option<Slot> {
        let slots = self.slots.iter().enumerate().rev();
        let (slot, holdings) = slots.max_by_key(|(_, holdings)| holdings.blocks)?;
        // Slots are numbered by `u16`, so the cast keeps the value.
        (holdings.blocks > 0).then_some(Slot(slot as u16))
    }

    /// A new hold, the newest of its slot, with no parent and no neighbour on its run.
    pub(super) fn add(&mut self, slot: Slot, run: u32, len: u32, blocks: u64, placed: PlacedAt) -> u32 {
        let (parent, next_on_run, newer, older) = (NONE, NONE, NONE, NONE);
        let hold = Hold { run, len, parent, children: 0, next_on_run, newer, older, placed, slot };
        let number = self.put(hold);
        self.holdings(slot).blocks += blocks;
        self.push_newest(number);
        number
    }

    /// Makes `hold` the newest of its slot, which was sent it at `placed`.
    pub(super) fn touch(&mut self, hold: u32, placed: PlacedAt) {
        let entry = self.get_mut(hold);
        entry.placed = entry.placed.max(placed);
        self.take_out(hold);
        self.push_newest(hold);
    }

    /// Makes `hold` the parent of `child`.
    pub(super) fn adopt(&mut self, hold: u32, child: u32) {
        self.get_mut(child).parent = hold;
        self.get_mut(hold).children += 1;
    }

    /// Lets `hold` cover `len` anchors, which are `blocks` more blocks than before.
    pub(super) fn grow(&mut self, hold: u32, len: u32, blocks: u64) {
        self.get_mut(hold).len = len;
        let slot = self.get(hold).slot;
        self.holdings(slot).blocks += blocks;
    }

    /// Lets `hold` cover only `len` anchors, which are `blocks` fewer blocks than before.
    pub(super) fn shrink(&mut self, hold: u32, len: u32, blocks: u64) {
        self.get_mut(hold).len = len;
        let slot = self.get(hold).slot;
        self.holdings(slot).blocks -= blocks;
    }

    /// Puts a new hold on `run` of `at` anchors between `hold` and its parent, next newer than `hold`, which keeps the
    /// rest.
    pub(super) fn split_above(&mut self, hold: u32, run: u32, at: u32) -> u32 {
        let lower = *self.get(hold);
        let upper = Hold { run, len: at, children: 1, next_on_run: NONE, newer: lower.newer, older: hold, ..lower };
        let number = self.put(upper);
        match lower.newer {
            NONE => self.holdings(lower.slot).newest = number,
            newer => self.get_mut(newer).older = number,
        }
        let kept = self.get_mut(hold);
        (kept.parent, kept.newer, kept.len) = (number, number, lower.len - at);
        number
    }

    /// Removes a hold that covers nothing any more.
    pub(super) fn remove(&mut self, hold: u32) {
        self.take_out(hold);
        let parent = self.get(hold).parent;
        if parent != NONE {
            self.get_mut(parent).children -= 1;
        }
        self.free.push(hold);
    }

    pub(super) fn bytes(&self) -> usize {
        (self.holds.len() - self.free.len()) * size_of::<Hold>() + self.slots.len() * size_of::<SlotHoldings>()
    }

    fn put(&mut self, hold: Hold) -> u32 {
        match self.free.pop() {
            Some(number) => {
                self.holds[number as usize] = hold;
                number
            }
            None => {
                self.holds.push(hold);
                // Each hold takes 40 bytes, so memory ends long before the numbers do.
                (self.holds.len() - 1) as u32
            }
        }
    }

    fn push_newest(&mut self, hold: u32) {
        let slot = self.get(hold).slot;
        let newest = std::mem::replace(&mut self.holdings(slot).newest, hold);
        let entry = self.get_mut(hold);
        (entry.older, entry.newer) = (newest, NONE);
        match newest {
            NONE => self.holdings(slot).oldest = hold,
            newest => self.get_mut(newest).newer = hold,
        }
    }

    fn take_out(&mut self, hold: u32) {
        let Hold { newer, older, slot, .. } = *self.get(hold);
        match newer {
            NONE => self.holdings(slot).newest = older,
            newer => self.get_mut(newer).older = older,
        }
        match older {
            NONE => self.holdings(slot).oldest = newer,
            older => self.get_mut(older).newer = newer,
        }
    }
}
