//! The judge: shows what happened to all promises, in order, and ends the run with the first that is broken.
//!
//! Must not know any promise by name, nor how a run comes about.

mod figures;
mod verdict;

pub use figures::{Figures, LaneAge};
pub use verdict::{Summary, Verdict};

use crate::chronicle::Entry;
use crate::plan::Plan;
use crate::promises::{self, Broken, Promise, Scene};

/// A judge of one run.
pub struct Judge {
    scene: Scene,
    promises: Vec<Box<dyn Promise>>,
    figures: Figures,
    verdict: Option<Verdict>,
}

// === impl Judge ===

impl Judge {
    /// A judge of all promises.
    pub fn new(plan: &Plan) -> Self {
        Self::of(plan, promises::all(plan))
    }

    /// A judge of these promises alone.
    pub fn of(plan: &Plan, promises: Vec<Box<dyn Promise>>) -> Self {
        Self { scene: Scene::new(plan), promises, figures: Figures::default(), verdict: None }
    }

    /// Looks at what happened. `false` when a promise is broken: nothing that comes later counts.
    pub fn see(&mut self, entry: &Entry) -> bool {
        if self.verdict.is_some() {
            return false;
        }
        self.scene.see(entry);
        self.figures.see(entry, &self.scene);
        for promise in &mut self.promises {
            if let Err(broken) = promise.see(entry, &self.scene) {
                self.verdict = Some(verdict(promise.as_ref(), broken, &self.scene));
                return false;
            }
        }
        true
    }

    /// The verdict when there is nothing more to see, and the figures.
    pub fn conclude(mut self) -> (Verdict, Figures) {
        let scene = &self.scene;
        let late = |promise: &mut Box<dyn Promise>| {
            promise.end(scene).err().map(|broken| verdict(promise.as_ref(), broken, scene))
        };
        let verdict = self.verdict.or_else(|| self.promises.iter_mut().find_map(late)).unwrap_or(Verdict::Kept);
        self.figures.virtual_s = self.scene.now().as_secs_f64();
        (verdict, self.figures)
    }
}

fn verdict(promise: &dyn Promise, broken: Broken, scene: &Scene) -> Verdict {
    Verdict::Broken {
        promise: promise.name().to_owned(),
        healing: promise.kind() == promises::Kind::Healing,
        at_s: scene.now().as_secs_f64(),
        how: broken.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chronicle::{Fact, Phase};
    use crate::promises::testing::{Tale, well};

    fn judged(tale: &Tale) -> (Verdict, usize) {
        let mut judge = Judge::new(&tale.plan);
        let seen = tale.entries.iter().take_while(|entry| judge.see(entry)).count();
        (judge.conclude().0, seen)
    }

    #[test]
    fn the_first_broken_promise_ends_the_run() {
        let mut tale = Tale::calm();
        tale.sent(1, 0, 1);
        let before = tale.entries.len() - 1;
        tale.at(20_000).look(0, well(0));
        let (verdict, seen) = judged(&tale);
        assert_eq!(seen, before);
        assert_eq!((verdict.exit_code(), verdict.promise()), (129, Some("every_ask_gets_one_answer")));
    }

    #[test]
    fn what_did_not_become_well_in_time_is_told_apart_from_what_was_wrong() {
        let mut tale = Tale::calm();
        tale.phase(10_000, Phase::Healing).at(12_000).look(0, crate::chronicle::Look { ready: false, ..well(0) });
        assert_eq!(judged(&tale).0.exit_code(), 128);
    }

    #[test]
    fn what_is_missing_is_seen_at_the_end() {
        let mut tale = Tale::calm();
        tale.ask(1, 0, 0);
        let (verdict, seen) = judged(&tale);
        assert_eq!(seen, tale.entries.len());
        assert_eq!(verdict.promise(), Some("every_ask_gets_one_answer"));
        tale.sent(1, 0, 2);
        tale.client(Fact::Done {
            request: 1,
            end: crate::chronicle::End::Served,
            first_token: None,
            prompt: (100, 50),
        });
        assert_eq!(judged(&tale).0, Verdict::Kept);
    }
}
