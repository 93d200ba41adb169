//! The checker: shows each entry of a history to all invariants, in order, and ends the run with the first broken one.
//!
//! Must not know any invariant by name, nor how a run is made.

mod figures;
mod verdict;

pub use figures::{Figures, LaneAge};
pub use verdict::{Summary, Verdict};

use crate::history::Entry;
use crate::invariants::{self, Broken, Invariant, Scene};
use crate::plan::Plan;

/// The checker of one run.
pub struct Checker {
    scene: Scene,
    invariants: Vec<Box<dyn Invariant>>,
    figures: Figures,
    verdict: Option<Verdict>,
}

// === impl Checker ===

impl Checker {
    /// A checker of all invariants.
    pub fn new(plan: &Plan) -> Self {
        Self::of(plan, invariants::all(plan))
    }

    /// A checker of these invariants only.
    pub fn of(plan: &Plan, invariants: Vec<Box<dyn Invariant>>) -> Self {
        Self { scene: Scene::new(plan), invariants, figures: Figures::default(), verdict: None }
    }

    /// Checks one entry. Returns `false` once an invariant is broken: later entries do not count.
    pub fn see(&mut self, entry: &Entry) -> bool {
        if self.verdict.is_some() {
            return false;
        }
        self.scene.see(entry);
        self.figures.see(entry, &self.scene);
        for invariant in &mut self.invariants {
            if let Err(broken) = invariant.see(entry, &self.scene) {
                self.verdict = Some(verdict(invariant.as_ref(), broken, &self.scene));
                return false;
            }
        }
        true
    }

    /// The verdict at the end of the history, and the figures.
    pub fn conclude(mut self) -> (Verdict, Figures) {
        let scene = &self.scene;
        let late = |invariant: &mut Box<dyn Invariant>| {
            invariant.end(scene).err().map(|broken| verdict(invariant.as_ref(), broken, scene))
        };
        let verdict = self.verdict.or_else(|| self.invariants.iter_mut().find_map(late)).unwrap_or(Verdict::Kept);
        self.figures.virtual_s = self.scene.now().as_secs_f64();
        (verdict, self.figures)
    }
}

fn verdict(invariant: &dyn Invariant, broken: Broken, scene: &Scene) -> Verdict {
    Verdict::Broken {
        invariant: invariant.about().name.to_owned(),
        recovery: invariant.about().kind == invariants::Kind::Recovery,
        at_s: scene.now().as_secs_f64(),
        how: broken.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Fact, Phase};
    use crate::invariants::testing::{HistoryBuilder, well};

    fn check(history: &HistoryBuilder) -> (Verdict, usize) {
        let mut checker = Checker::new(&history.plan);
        let seen = history.entries.iter().take_while(|entry| checker.see(entry)).count();
        (checker.conclude().0, seen)
    }

    #[test]
    fn the_first_broken_invariant_ends_the_run() {
        let mut history = HistoryBuilder::calm();
        history.sent(1, 0, 1);
        let before = history.entries.len() - 1;
        history.at(20_000).snapshot(0, well(0));
        let (verdict, seen) = check(&history);
        assert_eq!(seen, before);
        assert_eq!((verdict.exit_code(), verdict.invariant()), (129, Some("every_ask_gets_one_answer")));
    }

    #[test]
    fn a_missed_recovery_has_another_exit_code_than_a_safety_violation() {
        let mut history = HistoryBuilder::calm();
        history
            .phase(10_000, Phase::Recovery)
            .at(12_000)
            .snapshot(0, crate::history::Snapshot { ready: false, ..well(0) });
        assert_eq!(check(&history).0.exit_code(), 128);
    }

    #[test]
    fn a_missing_answer_is_found_at_the_end() {
        let mut history = HistoryBuilder::calm();
        history.ask(1, 0, 0);
        let (verdict, seen) = check(&history);
        assert_eq!(seen, history.entries.len());
        assert_eq!(verdict.invariant(), Some("every_ask_gets_one_answer"));
        history.sent(1, 0, 2);
        history.client(Fact::Done {
            request: 1,
            end: crate::history::End::Served,
            first_token: None,
            prompt: (100, 50),
        });
        assert_eq!(check(&history).0, Verdict::Kept);
    }
}
