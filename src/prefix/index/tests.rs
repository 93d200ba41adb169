//! Tests of the prefix index.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::time::Timestamp;
use std::time::Duration;

/// A chain that is named by its path: `chain("aab")` shares two blocks with `chain("aac")`.
fn chain(path: &str) -> Vec<BlockHash> {
    let hash = |end: usize| BlockHash(xxhash_rust::xxh3::xxh3_64(&path.as_bytes()[..end]));
    (1..=path.len()).map(hash).collect()
}

fn index(slots: u16, capacity: u64) -> PrefixIndex {
    let mut index = PrefixIndex::weighing(1 << 24, |anchors| anchors);
    (0..slots).for_each(|slot| index.set_capacity(Slot(slot), capacity));
    index
}

fn matches(index: &PrefixIndex, path: &str) -> Vec<u32> {
    let mut matches = vec![0; 8];
    index.walk(&chain(path), &mut matches);
    matches.truncate(4);
    matches
}

#[test]
fn a_match_is_contiguous_from_the_head_for_every_slot_at_once() {
    let mut index = index(4, 100);
    index.insert(Slot(0), &chain("abcdef"));
    index.insert(Slot(1), &chain("abcxyz"));
    index.insert(Slot(2), &chain("ab"));
    assert_eq!(matches(&index, "abcdefgh"), [6, 3, 2, 0]);
    assert_eq!(matches(&index, "abcxy"), [3, 5, 2, 0]);
    assert_eq!(matches(&index, "zab"), [0, 0, 0, 0]);
    assert_eq!(matches(&index, ""), [0, 0, 0, 0]);
}

#[test]
fn tails_go_first_and_the_least_recently_used_of_them() {
    let mut index = index(1, 8);
    index.insert(Slot(0), &chain("abcd"));
    index.insert(Slot(0), &chain("wxyz"));
    index.insert(Slot(0), &chain("abmn"));
    // Ten blocks for eight places: `abcd` lost its tail, the shared head was used last.
    assert_eq!((matches(&index, "abcd")[0], matches(&index, "wxyz")[0], matches(&index, "abmn")[0]), (2, 4, 4));
    index.insert(Slot(0), &chain("pq"));
    assert_eq!((matches(&index, "wxyz")[0], matches(&index, "abmn")[0], matches(&index, "pq")[0]), (2, 4, 2));
    assert_eq!(index.evicted(), 4);
}

#[test]
fn a_prompt_longer_than_the_cache_keeps_its_head() {
    let mut index = index(1, 3);
    index.insert(Slot(0), &chain("abcdef"));
    assert_eq!(matches(&index, "abcdef")[0], 3);
    assert_eq!(index.held(Slot(0)), 3);
}

#[test]
fn a_smaller_capacity_counts_at_once() {
    let mut index = index(1, 10);
    index.insert(Slot(0), &chain("abcdef"));
    index.set_capacity(Slot(0), 2);
    assert_eq!(matches(&index, "abcdef")[0], 2);
}

#[test]
fn shortening_takes_only_what_no_other_chain_builds_upon() {
    let mut index = index(1, 100);
    index.insert(Slot(0), &chain("ab"));
    index.insert(Slot(0), &chain("abcdef"));
    index.shorten(Slot(0), &chain("abcdef"), 2);
    assert_eq!(matches(&index, "abcdef")[0], 2);

    index.insert(Slot(0), &chain("abcdef"));
    index.insert(Slot(0), &chain("abcdxy"));
    index.shorten(Slot(0), &chain("abcdef"), 2);
    assert_eq!((matches(&index, "abcdef")[0], matches(&index, "abcdxy")[0]), (4, 6));
    index.check();
}

#[test]
fn clearing_every_slot_gives_all_memory_back() {
    let mut index = index(3, 100);
    let empty = index.bytes();
    for slot in 0..3 {
        index.insert(Slot(slot), &chain("abcdefgh"));
        index.insert(Slot(slot), &chain("abcdxyz"));
    }
    assert!(index.bytes() > empty);
    (0..3).for_each(|slot| index.clear(Slot(slot)));
    assert_eq!((index.bytes(), index.holder_blocks()), (empty, 0));
}

#[test]
fn a_slot_without_capacity_holds_nothing() {
    let mut index = PrefixIndex::weighing(1 << 20, |anchors| anchors);
    index.insert(Slot(0), &chain("abc"));
    assert_eq!((index.held(Slot(0)), matches(&index, "abc")[0]), (0, 0));
}

#[test]
fn the_index_never_outgrows_its_bytes() {
    let mut index = PrefixIndex::weighing(40_000, |anchors| anchors);
    (0..4).for_each(|slot| index.set_capacity(Slot(slot), u64::MAX));
    for n in 0..2_000u64 {
        let blocks: Vec<BlockHash> = (0..20).map(|i| BlockHash(crate::chance::mix(n * 1000 + i))).collect();
        index.insert(Slot((n % 4) as u16), &blocks);
        assert!(index.bytes() <= 40_000);
    }
    assert!(index.holder_blocks() > 1_000);
    index.check();
}

#[test]
fn a_block_costs_at_most_sixteen_bytes_for_each_holder() {
    let mut index = index(4, u64::MAX);
    // 500 conversations of 16 to 46 blocks, a quarter of them on two slots.
    for n in 0..500u64 {
        let blocks: Vec<BlockHash> = (0..16 + n % 31).map(|i| BlockHash(crate::chance::mix(n * 1000 + i))).collect();
        index.insert(Slot((n % 4) as u16), &blocks);
        if n % 4 == 0 {
            index.insert(Slot(1), &blocks);
        }
    }
    let each = index.bytes() as f64 / index.holder_blocks() as f64;
    assert!(each <= 16.0, "{each:.1} bytes");
}

#[test]
fn anchors_weigh_what_they_stand_for() {
    let mut index = PrefixIndex::new(1 << 20);
    index.set_capacity(Slot(0), 50);
    let blocks: Vec<BlockHash> = (0..64).map(|i| BlockHash(crate::chance::mix(i))).collect();
    let chain = crate::prefix::anchors::of(&blocks);
    index.insert(Slot(0), &chain);
    // 64 blocks for 50 places: the anchors at 64 and 56 go, and that at 48 stays.
    let mut matches = [0];
    index.walk(&chain, &mut matches);
    assert_eq!((crate::prefix::anchors::blocks(matches[0]), index.held(Slot(0))), (48, 48));
    index.check();
}

// === impl PrefixIndex: what must hold after every step ===

impl PrefixIndex {
    fn check(&self) {
        let mut by_slot: BTreeMap<Slot, u64> = BTreeMap::new();
        let mut children: BTreeMap<u32, u32> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for run in self.runs.living() {
            let mut hold = self.runs.first_hold(run);
            assert_ne!(hold, NONE, "a run without holders");
            let mut slots = BTreeSet::new();
            while hold != NONE {
                let held = *self.holds.get(hold);
                assert!(seen.insert(hold) && slots.insert(held.slot), "one hold for each slot on a run");
                assert_eq!(held.run, run);
                assert!(held.len > 0 && held.len as usize <= self.runs.blocks(run).len());
                *by_slot.entry(held.slot).or_default() += self.weight(run, 0, held.len);
                if held.parent != NONE {
                    *children.entry(held.parent).or_default() += 1;
                    let parent = self.holds.get(held.parent);
                    assert_eq!(parent.slot, held.slot);
                    assert_eq!(
                        parent.len as usize,
                        self.runs.blocks(parent.run).len(),
                        "holds are closed towards the head"
                    );
                }
                hold = held.next_on_run;
            }
        }
        for &hold in &seen {
            assert_eq!(self.holds.get(hold).children, children.get(&hold).copied().unwrap_or(0));
        }
        for (&slot, &blocks) in &by_slot {
            assert_eq!(self.held(slot), blocks);
            let held = self.holds.by_age(slot).map(|hold| self.holds.get(hold));
            let anchors = held.flat_map(|hold| &self.runs.blocks(hold.run)[..hold.len as usize]);
            assert_eq!(self.fingerprint(slot), anchors.fold(0_u64, |sum, anchor| sum.wrapping_add(anchor.0)));
        }
    }
}

/// The reference model: every block by itself, with the time of its last use and its depth.
#[derive(Default)]
struct ReferenceModel {
    slots: BTreeMap<u16, BTreeMap<BlockHash, (u64, std::cmp::Reverse<usize>)>>,
    now: u64,
}

impl ReferenceModel {
    fn insert(&mut self, slot: u16, chain: &[BlockHash], capacity: usize) {
        self.now += 1;
        let held = self.slots.entry(slot).or_default();
        held.extend(chain.iter().enumerate().map(|(depth, &hash)| (hash, (self.now, std::cmp::Reverse(depth)))));
        while held.len() > capacity {
            let oldest = *held.iter().min_by_key(|entry| *entry.1).unwrap().0;
            held.remove(&oldest);
        }
    }

    fn matched(&self, slot: u16, chain: &[BlockHash]) -> u32 {
        let held = self.slots.get(&slot);
        chain.iter().take_while(|hash| held.is_some_and(|held| held.contains_key(hash))).count() as u32
    }
}

proptest! {
    #[test]
    fn it_agrees_with_the_reference_model(
        capacity in 1usize..30,
        steps in proptest::collection::vec((0u16..3, "[ab]{1,12}"), 1..60),
        lookups in proptest::collection::vec("[ab]{1,12}", 1..10),
    ) {
        let (mut index, mut model) = (index(3, capacity as u64), ReferenceModel::default());
        for (slot, path) in &steps {
            index.insert(Slot(*slot), &chain(path));
            model.insert(*slot, &chain(path), capacity);
            index.check();
        }
        for path in lookups.iter().chain(steps.iter().map(|(_, path)| path)) {
            let model: Vec<u32> = (0..3).map(|slot| model.matched(slot, &chain(path))).collect();
            prop_assert_eq!(&matches(&index, path)[..3], &model[..]);
        }
    }

    #[test]
    fn its_chains_restore_it(
        capacity in 1usize..30,
        steps in proptest::collection::vec((0u16..3, "[ab]{1,12}"), 1..60),
        lookups in proptest::collection::vec("[ab]{1,12}", 1..10),
    ) {
        let (mut old, mut new) = (index(3, capacity as u64), index(3, capacity as u64));
        for (slot, path) in &steps {
            old.insert(Slot(*slot), &chain(path));
        }
        for slot in (0..3).map(Slot) {
            old.chains(slot, usize::MAX).iter().for_each(|(chain, placed)| _ = new.insert_at(slot, chain, *placed));
            prop_assert_eq!(old.held(slot), new.held(slot));
        }
        new.check();
        for path in &lookups {
            prop_assert_eq!(matches(&old, path), matches(&new, path));
        }
    }

    #[test]
    fn it_stays_consistent_under_any_operations(
        steps in proptest::collection::vec((0u8..4, 0u16..3, "[ab]{1,12}", 0usize..14), 1..80),
    ) {
        let mut index = index(3, 20);
        for (what, slot, path, n) in &steps {
            match what {
                0 => index.shorten(Slot(*slot), &chain(path), *n),
                1 => index.set_capacity(Slot(*slot), *n as u64 * 3),
                2 if *n == 0 => index.clear(Slot(*slot)),
                _ => index.insert(Slot(*slot), &chain(path)),
            }
            index.check();
        }
    }
}

proptest! {
    /// Placements and losses of a cache in any order and number: what was placed after the last loss is held.
    #[test]
    fn forgetting_removes_what_was_placed_until_then(
        events in proptest::collection::vec((0u64..20, proptest::option::of("[ab]{1,12}")), 1..40),
    ) {
        let (mut believed, slot, mut lost) = (index(1, 1_000), Slot(0), None);
        for (at, path) in &events {
            let at = PlacedAt::new(Timestamp::from_millis(*at), Duration::ZERO);
            match path {
                Some(path) if lost.is_none_or(|lost| at > lost) => _ = believed.insert_at(slot, &chain(path), at),
                Some(_) => {}
                None => {
                    lost = lost.max(Some(at));
                    believed.forget_until(slot, at);
                }
            }
        }
        let last = events.iter().filter(|(_, path)| path.is_none()).map(|(at, _)| *at).max();
        let left = events.iter().filter_map(|(at, path)| path.as_ref().filter(|_| last.is_none_or(|last| *at > last)));
        let mut expected = index(1, 1_000);
        left.for_each(|path| expected.insert(slot, &chain(path)));
        believed.check();
        prop_assert_eq!((believed.fingerprint(slot), believed.held(slot)), (expected.fingerprint(slot), expected.held(slot)));
        believed.forget_until(slot, PlacedAt::new(Timestamp::from_millis(20), Duration::ZERO));
        prop_assert_eq!((believed.fingerprint(slot), believed.held(slot)), (0, 0));
    }
}

/// Two chains that name the same two hashes in opposite orders: no prompt makes them, but a peer can send them.
#[test]
fn hashes_that_claim_to_come_before_each_other_make_no_cycle() {
    let hashes = |numbers: &[u64]| numbers.iter().copied().map(BlockHash).collect::<Vec<_>>();
    let mut index = index(1, 100);
    for chain in [&[1][..], &[2], &[1, 2], &[2, 1], &[1, 1], &[3, 3, 3], &[3], &[1, 3, 2, 3, 1]] {
        index.insert(Slot(0), &hashes(chain));
        let chains = index.chains(Slot(0), 100);
        assert!(chains.iter().all(|(chain, _)| chain.len() <= 10), "{chains:?}");
    }
    index.shorten(Slot(0), &hashes(&[2, 1]), 0);
    index.clear(Slot(0));
    assert_eq!(index.held(Slot(0)), 0);
}

proptest! {
    #[test]
    fn every_chain_ends_in_whatever_order_a_peer_sends_hashes(
        chains in proptest::collection::vec(proptest::collection::vec(1u64..6, 1..6), 1..30),
    ) {
        let mut index = index(1, 20);
        for chain in chains {
            index.insert(Slot(0), &chain.into_iter().map(BlockHash).collect::<Vec<_>>());
            prop_assert!(index.chains(Slot(0), 100).iter().all(|(chain, _)| chain.len() <= 100));
        }
        index.clear(Slot(0));
        prop_assert_eq!(index.held(Slot(0)), 0);
    }
}
