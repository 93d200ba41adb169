//! A hash table from a run's first block to the run: open addressing over run numbers, four bytes for each place.
//!
//! Must not know runs: the caller supplies the first block of a run number. Block hashes are hashes already, so mixing
//! their own bits chooses the place.

use crate::id::BlockHash;

const EMPTY: u32 = u32::MAX;
const PLACES_MIN: usize = 64;

/// The table. At most three quarters of its places are taken.
#[derive(Debug)]
pub(super) struct Table {
    places: Vec<u32>,
    taken: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self { places: vec![EMPTY; PLACES_MIN], taken: 0 }
    }
}

// === impl Table ===

impl Table {
    pub(super) fn find(&self, first: BlockHash, first_of: impl Fn(u32) -> BlockHash) -> Option<u32> {
        let mut place = self.home(first);
        loop {
            match self.places[place] {
                EMPTY => return None,
                run if first_of(run) == first => return Some(run),
                _ => place = self.after(place),
            }
        }
    }

    pub(super) fn insert(&mut self, run: u32, first_of: impl Fn(u32) -> BlockHash) {
        if (self.taken + 1) * 4 > self.places.len() * 3 {
            self.resize(self.places.len() * 2, &first_of);
        }
        self.put(run, first_of(run));
        self.taken += 1;
    }

    /// Removes `run`, and moves back those behind it that would not be found across the gap.
    pub(super) fn remove(&mut self, run: u32, first_of: impl Fn(u32) -> BlockHash) {
        let mut hole = self.home(first_of(run));
        while self.places[hole] != run {
            if self.places[hole] == EMPTY {
                return;
            }
            hole = self.after(hole);
        }
        let mut place = self.after(hole);
        while self.places[place] != EMPTY {
            let home = self.home(first_of(self.places[place]));
            let (from_home, from_hole) = (self.distance(home, place), self.distance(hole, place));
            if from_home >= from_hole {
                self.places[hole] = self.places[place];
                hole = place;
            }
            place = self.after(place);
        }
        self.places[hole] = EMPTY;
        self.taken -= 1;
        if self.places.len() > PLACES_MIN && self.taken * 8 < self.places.len() {
            self.resize(self.places.len() / 2, &first_of);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.places.len() * size_of::<u32>()
    }

    fn resize(&mut self, places: usize, first_of: &impl Fn(u32) -> BlockHash) {
        let old = std::mem::replace(&mut self.places, vec![EMPTY; places]);
        old.into_iter().filter(|&run| run != EMPTY).for_each(|run| self.put(run, first_of(run)));
    }

    fn put(&mut self, run: u32, first: BlockHash) {
        let mut place = self.home(first);
        while self.places[place] != EMPTY {
            place = self.after(place);
        }
        self.places[place] = run;
    }

    fn home(&self, first: BlockHash) -> usize {
        crate::chance::mix(first.0) as usize & (self.places.len() - 1)
    }

    fn after(&self, place: usize) -> usize {
        (place + 1) & (self.places.len() - 1)
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.places.len() - 1)
    }
}
