//! Placements that may still be revoked: who placed what, and how much of it the endpoint would hold without that.
//!
//! An endpoint holds what any placement says that was not revoked. So a revocation takes away only what no other
//! placement says, and in whatever order placements and revocations of several replicas arrive, all end up with the
//! same. A placement that is not revoked soon is taken as settled.
//!
//! A history says what an endpoint holds and not by which placements, so it may repeat one that is revoked later. Such
//! a chain counts against the revocation as far as the revocation's origin, too, believes that something stays.
//!
//! Must not know the index, nor why a placement is revoked.

use std::collections::VecDeque;
use std::time::Duration;

use crate::id::{BlockHash, Slot};
use crate::prefix::{PlacedAt, shared};
use crate::time::Timestamp;

/// A placement older than this counts as settled: its prompt was computed long ago, or its stream has ended.
const SETTLES_AFTER: Duration = Duration::from_secs(120);
/// Placements that are remembered for one endpoint; the oldest settle first.
const PLACEMENTS_MAX: usize = 128;

/// Who placed a prompt: the origin, and the number of the placement among all that it published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedBy {
    /// Differs between replicas, and between incarnations of one.
    pub origin: u64,
    /// Grows with each placement and revocation of the origin.
    pub seq: u64,
}

/// Placements that may still be revoked.
#[derive(Debug, Default)]
pub struct Revocable {
    /// By slot, the oldest first.
    slots: Vec<VecDeque<Placed>>,
}

#[derive(Debug)]
struct Placed {
    /// `None` for what a history says.
    by: Option<PlacedBy>,
    chain: Box<[BlockHash]>,
    /// How many anchors of the chain the slot holds by settled placements.
    settled: usize,
    placed: PlacedAt,
    noted: Timestamp,
    /// Whether a history says so too.
    told: bool,
    /// The number of its revocation. It is kept, because the placement may come again, by another lane.
    revoked: Option<u64>,
}

// === impl Revocable ===

impl Revocable {
    /// Whether this placement is revoked already.
    pub fn is_revoked(&self, slot: Slot, by: PlacedBy) -> bool {
        self.of(slot).any(|placed| placed.by == Some(by) && placed.revoked.is_some())
    }

    /// How much of a chain that a history says is believed: not what is known to be revoked, which the history's sender
    /// may not have heard of.
    pub fn believed(&self, slot: Slot, chain: &[BlockHash]) -> usize {
        let is_it = |placed: &&Placed| placed.revoked.is_some() && *placed.chain == *chain;
        let Some(revoked) = self.of(slot).find(is_it) else { return chain.len() };
        let others = self.of(slot).filter(|placed| placed.revoked.is_none());
        others.map(|placed| shared(&placed.chain, chain)).fold(revoked.settled, usize::max)
    }

    /// Records a placement of `chain` at `at`, of which `slot` held the first `held` anchors before. `by` is `None` for
    /// what a history says.
    pub fn placed(
        &mut self,
        slot: Slot,
        by: Option<PlacedBy>,
        (chain, held): (&[BlockHash], usize),
        at: PlacedAt,
        now: Timestamp,
    ) {
        let repeats = |placed: &Placed| match by {
            Some(_) => placed.by == by,
            // A history mostly repeats what is known.
            None => placed.revoked.is_none() && *placed.chain == *chain,
        };
        if let Some(again) = self.all(slot).iter_mut().find(|placed| repeats(placed)) {
            again.placed = again.placed.max(at);
            again.told |= by.is_none();
            return;
        }
        self.settle_old(slot, now);
        // Of what another placement says, exactly as much is settled as that knows of.
        let known = self.of(slot).filter(|placed| placed.revoked.is_none());
        let known = known.filter(|placed| placed.settled < shared(&placed.chain, chain)).map(|placed| placed.settled);
        let settled = known.fold(held, usize::min);
        let placed =
            Placed { by, chain: chain.into(), settled, placed: at, noted: now, told: by.is_none(), revoked: None };
        self.all(slot).push_back(placed);
    }

    /// Records that the origin's newest placement of `chain` before `by` is revoked. Of its anchors, `kept` stay held as
    /// far as the origin knows. Returns how many the slot still holds; `None` if no such placement is remembered.
    pub fn revoked(&mut self, slot: Slot, by: PlacedBy, chain: &[BlockHash], kept: usize) -> Option<usize> {
        let is_it = |placed: &Placed| {
            let before = placed.by.is_some_and(|of| of.origin == by.origin && of.seq < by.seq);
            before && placed.revoked.is_none_or(|seq| seq == by.seq) && *placed.chain == *chain
        };
        let all = self.all(slot);
        let at = all.iter().rposition(is_it)?;
        all[at].revoked = Some(by.seq);
        // A history that says all of the chain may say it because of this very placement.
        let repeats = |placed: &Placed| placed.by.is_none() && shared(&placed.chain, chain) == chain.len();
        let others = all.iter().filter(|placed| placed.revoked.is_none());
        let stays = others.map(|placed| if repeats(placed) { kept } else { shared(&placed.chain, chain) });
        let told = if all[at].told { kept } else { 0 };
        let left = stays.chain([all[at].settled, told]).max().unwrap_or(0).min(chain.len());
        for placed in all.iter_mut().filter(|placed| repeats(placed) && left < chain.len()) {
            placed.chain = chain[..left].into();
        }
        Some(left)
    }

    /// The cache of `slot` was lost at `at`: placements at that time or before say nothing any more.
    pub fn lost(&mut self, slot: Slot, at: PlacedAt) {
        let all = self.all(slot);
        all.retain(|placed| placed.placed > at || placed.revoked.is_some());
        all.iter_mut().for_each(|placed| placed.settled = 0);
    }

    /// Forgets all placements on `slot`.
    pub fn clear(&mut self, slot: Slot) {
        self.all(slot).clear();
    }

    fn of(&self, slot: Slot) -> impl Iterator<Item = &Placed> {
        self.slots.get(slot.index()).into_iter().flatten()
    }

    fn all(&mut self, slot: Slot) -> &mut VecDeque<Placed> {
        if self.slots.len() <= slot.index() {
            self.slots.resize_with(slot.index() + 1, VecDeque::new);
        }
        &mut self.slots[slot.index()]
    }

    /// Nobody revokes a placement of `chain` any more.
    fn settled(&mut self, slot: Slot, chain: &[BlockHash]) {
        for placed in self.all(slot) {
            placed.settled = placed.settled.max(shared(&placed.chain, chain));
        }
    }

    fn settle_old(&mut self, slot: Slot, now: Timestamp) {
        let is_old = |all: &VecDeque<Placed>| {
            let oldest = all.front();
            all.len() >= PLACEMENTS_MAX || oldest.is_some_and(|placed| now.since(placed.noted) >= SETTLES_AFTER)
        };
        while is_old(self.all(slot)) {
            if let Some(oldest) = self.all(slot).pop_front().filter(|oldest| oldest.revoked.is_none()) {
                self.settled(slot, &oldest.chain);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prefix::PrefixIndex;

    const SLOT: Slot = Slot(0);
    const NOW: Timestamp = Timestamp::from_millis(1);

    /// Prompts of a small family: each is the first anchors of one of three that share a beginning.
    fn chain(of: u64, len: usize) -> Vec<BlockHash> {
        (1..=len as u64).map(|at| BlockHash(if at <= 3 { at } else { of * 100 + at })).collect()
    }

    /// One replica's view.
    struct View {
        index: PrefixIndex,
        revocable: Revocable,
    }

    impl View {
        fn new() -> Self {
            let mut index = PrefixIndex::new(1 << 20);
            index.set_capacity(SLOT, 10_000);
            Self { index, revocable: Revocable::default() }
        }

        fn apply(&mut self, (by, chain, revokes): &(PlacedBy, Vec<BlockHash>, bool)) {
            if *revokes {
                let left = self.revocable.revoked(SLOT, *by, chain, 0);
                self.index.shorten(SLOT, chain, left.unwrap());
            } else if !self.revocable.is_revoked(SLOT, *by) {
                let held = self.index.insert_at(SLOT, chain, PlacedAt::UNKNOWN);
                self.revocable.placed(SLOT, Some(*by), (chain, held), PlacedAt::UNKNOWN, NOW);
            }
        }
    }

    type Fact = (PlacedBy, Vec<BlockHash>, bool);

    /// The facts of `origin` by its steps: a prompt that it places, or whether it revokes the newest that it can.
    fn published(origin: u64, steps: &[(u64, usize, bool)]) -> Vec<Fact> {
        let (mut facts, mut open): (Vec<Fact>, Vec<Vec<BlockHash>>) = (Vec::new(), Vec::new());
        for (seq, (of, len, revokes)) in (1..).zip(steps) {
            let by = PlacedBy { origin, seq };
            match open.pop_if(|_| *revokes) {
                Some(chain) => facts.push((by, chain, true)),
                None => {
                    open.push(chain(*of, *len));
                    facts.push((by, chain(*of, *len), false));
                }
            }
        }
        facts
    }

    /// The facts of several origins, each in its order, in an order among them that `picks` says; some come twice.
    fn merged(of: &[Vec<Fact>], picks: &[usize], twice: bool) -> Vec<Fact> {
        let (mut at, mut merged) = (vec![0; of.len()], Vec::new());
        for pick in picks.iter().copied().chain(std::iter::repeat_n(0..of.len(), 64).flatten()) {
            let origin = pick % of.len();
            if let Some(fact) = of[origin].get(at[origin]) {
                merged.push(fact.clone());
                at[origin] += 1;
                if twice && pick % 4 == 0 {
                    merged.extend_from_slice(&of[origin][..at[origin]]);
                }
            }
        }
        merged
    }

    fn steps() -> impl Strategy<Value = Vec<(u64, usize, bool)>> {
        proptest::collection::vec((0u64..3, 1usize..9, any::<bool>()), 0..10)
    }

    proptest! {
        #[test]
        fn what_is_held_is_what_all_placements_say_that_were_not_revoked(
            origins in proptest::collection::vec(steps(), 1..4),
            picks in proptest::collection::vec(0usize..12, 0..40),
            twice in any::<bool>(),
        ) {
            let of: Vec<Vec<Fact>> = (0..).zip(&origins).map(|(origin, steps)| published(origin, steps)).collect();
            let mut view = View::new();
            merged(&of, &picks, twice).iter().for_each(|fact| view.apply(fact));
            let mut left = View::new();
            for facts in &of {
                let mut open: Vec<&Vec<BlockHash>> = Vec::new();
                for (_, chain, revokes) in facts {
                    match revokes {
                        true => drop(open.remove(open.iter().rposition(|one| *one == chain).unwrap())),
                        false => open.push(chain),
                    }
                }
                open.into_iter().for_each(|chain| left.index.insert(SLOT, chain));
            }
            prop_assert_eq!(view.index.fingerprint(SLOT), left.index.fingerprint(SLOT));
        }
    }

    #[test]
    fn what_was_held_before_stays() {
        let mut view = View::new();
        view.index.insert(SLOT, &chain(1, 4));
        let fact = |seq, chain: &[BlockHash], revokes| (PlacedBy { origin: 1, seq }, chain.to_vec(), revokes);
        view.apply(&fact(1, &chain(1, 8), false));
        view.apply(&fact(2, &chain(1, 8), true));
        assert_eq!(view.index.held(SLOT), 4);
    }

    #[test]
    fn a_history_counts_as_far_as_the_origin_of_a_revocation_agrees() {
        let by = |seq| PlacedBy { origin: 1, seq };
        for (kept, first) in [(0, true), (0, false), (6, true), (6, false)] {
            let mut revocable = Revocable::default();
            let told = (&*chain(1, 8), if first { 0 } else { 8 });
            let placed = (&*chain(1, 8), if first { 8 } else { 0 });
            let mut record = |by, what| revocable.placed(SLOT, by, what, PlacedAt::UNKNOWN, NOW);
            match first {
                true => [(None, told), (Some(by(1)), placed)].map(|(by, what)| record(by, what)),
                false => [(Some(by(1)), placed), (None, told)].map(|(by, what)| record(by, what)),
            };
            assert_eq!(revocable.revoked(SLOT, by(2), &chain(1, 8), kept), Some(kept));
        }
    }

    #[test]
    fn a_history_does_not_bring_back_what_is_revoked() {
        let (mut revocable, by) = (Revocable::default(), |seq| PlacedBy { origin: 1, seq });
        revocable.placed(SLOT, Some(by(1)), (&chain(1, 8), 2), PlacedAt::UNKNOWN, NOW);
        assert_eq!(revocable.believed(SLOT, &chain(1, 8)), 8);
        revocable.revoked(SLOT, by(2), &chain(1, 8), 0);
        assert_eq!([8, 9].map(|len| revocable.believed(SLOT, &chain(1, len))), [2, 9]);
        revocable.placed(SLOT, Some(by(3)), (&chain(2, 8), 2), PlacedAt::UNKNOWN, NOW);
        assert_eq!(revocable.believed(SLOT, &chain(1, 8)), 3, "the other prompt's beginning");
    }

    #[test]
    fn what_a_history_says_of_other_prompts_stays() {
        let (mut revocable, by) = (Revocable::default(), |seq| PlacedBy { origin: 1, seq });
        let mut record = |by, chain: &[BlockHash]| revocable.placed(SLOT, by, (chain, 0), PlacedAt::UNKNOWN, NOW);
        record(None, &chain(1, 8));
        record(None, &chain(2, 8));
        record(Some(by(1)), &chain(1, 8));
        record(Some(by(2)), &chain(2, 5));
        assert_eq!(revocable.revoked(SLOT, by(3), &chain(1, 8), 0), Some(3), "the other prompt's beginning");
        assert_eq!(revocable.revoked(SLOT, by(4), &chain(2, 5), 0), Some(3), "what is left of the first one");
    }

    #[test]
    fn placements_are_bounded_and_old_ones_settle() {
        let (mut revocable, by) = (Revocable::default(), |seq| PlacedBy { origin: 1, seq });
        for seq in 0..1_000 {
            revocable.placed(SLOT, Some(by(seq)), (&chain(seq, 8), 0), PlacedAt::UNKNOWN, NOW);
        }
        assert_eq!(revocable.of(SLOT).count(), PLACEMENTS_MAX);
        assert_eq!(revocable.revoked(SLOT, by(2_000), &chain(1, 8), 0), None, "too old");
        assert_eq!(revocable.revoked(SLOT, by(2_000), &chain(999, 8), 0), Some(3));
        let later = NOW + SETTLES_AFTER;
        revocable.placed(SLOT, Some(by(2_001)), (&chain(5, 8), 3), PlacedAt::UNKNOWN, later);
        assert_eq!(revocable.of(SLOT).count(), 1);
        assert_eq!(revocable.revoked(SLOT, by(2_002), &chain(5, 8), 0), Some(3));
    }

    #[test]
    fn a_lost_cache_holds_only_what_was_placed_later() {
        let (mut revocable, by) = (Revocable::default(), |seq| PlacedBy { origin: 1, seq });
        let at = |millis| PlacedAt::new(Timestamp::from_millis(millis), Duration::ZERO);
        revocable.placed(SLOT, Some(by(1)), (&chain(1, 8), 0), at(1), NOW);
        revocable.placed(SLOT, Some(by(2)), (&chain(1, 5), 5), at(3), NOW);
        revocable.lost(SLOT, at(2));
        assert_eq!(revocable.revoked(SLOT, by(3), &chain(1, 8), 0), None);
        assert_eq!(revocable.revoked(SLOT, by(4), &chain(1, 5), 0), Some(0));
    }
}
