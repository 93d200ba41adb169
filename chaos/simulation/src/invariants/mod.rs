//! What the tier guarantees under any fault: one invariant a file, each checked on the history alone.
//!
//! Must not know the simulation. An invariant states exactly what is legal while a fault is in force and for how long
//! after it. It does not judge what the history does not show. There are two kinds: a broken *safety* invariant means
//! that something was wrong at that moment, a broken *recovery* invariant that something did not recover in time.

pub(crate) mod agreement;
mod answers;
mod balance;
mod beliefs;
mod bounds;
mod budget;
mod claims;
mod cuts;
mod evenness;
mod failures;
mod incarnations;
mod keeping;
mod knowledge;
mod memory;
mod names;
mod order;
pub(crate) mod pair_agreement;
mod pair_ends;
mod pair_shares;
pub(crate) mod presence;
mod recovery;
mod refusals;
mod right_answers;
pub mod scene;
mod serving;
mod shares;
mod stampede;
mod subset;
mod sums;
mod time;
mod told;
mod views;

use std::fmt;
use std::time::Duration;

use murmuration::event::Event;

use crate::history::{Entry, Fact};
use crate::plan::Plan;

pub use scene::Scene;

/// How long after a replica died or froze its peers may count its open work.
pub const CLEANUP: Duration = Duration::from_secs(2);
/// How soon after the end of the storm everything must have recovered.
pub const RECOVERY: Duration = Duration::from_secs(2);

/// The kind of an invariant, which decides the exit code of a run that breaks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Holds at every moment.
    Safety,
    /// Holds again in time after the storm.
    Recovery,
}

// === impl Kind ===

impl Kind {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Safety => "safety",
            Self::Recovery => "recovery",
        }
    }
}

/// What an invariant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its meaning, in a sentence.
    pub meaning: &'static str,
}

/// One invariant.
pub trait Invariant {
    /// What it is.
    fn about(&self) -> About;

    /// Judges one entry; `scene` has seen it already.
    ///
    /// # Errors
    /// The violation, if the invariant is broken.
    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken>;
    /// Judges the whole history at its end.
    ///
    /// # Errors
    /// The violation, if the invariant is broken.
    fn end(&mut self, _scene: &Scene) -> Result<(), Broken> {
        Ok(())
    }
}

/// The violation of an invariant: a sentence with the numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub String);

// === impl About ===

impl About {
    fn safety(name: &'static str, meaning: &'static str) -> Self {
        Self { name, kind: Kind::Safety, meaning }
    }

    fn recovery(name: &'static str, meaning: &'static str) -> Self {
        Self { name, kind: Kind::Recovery, meaning }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a replica reports that its scheduler restarted, which loses all state of the scheduler.
fn scheduler_restarted(fact: &Fact) -> bool {
    matches!(fact, Fact::Emitted(Event::ActorRestarted { actor, .. }) if actor.starts_with("scheduler"))
}

/// Returns a violation with this sentence.
macro_rules! broken {
    ($($sentence:tt)*) => { Err($crate::invariants::Broken(format!($($sentence)*))) };
}
use broken;

/// All invariants, for a run of `plan`, in the order in which they are listed and checked.
pub fn all(plan: &Plan) -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(time::TimeOnlyAdvances::default()),
        Box::new(answers::EveryAskGetsOneAnswer::default()),
        Box::new(cuts::OnlyTheDeadCutAnswers::default()),
        Box::new(knowledge::PicksOnlyWhatItKnows::default()),
        Box::new(subset::StaysWithinTheSubset::default()),
        Box::new(balance::BooksBalance::default()),
        Box::new(beliefs::StaleBeliefsExpire),
        Box::new(keeping::SomebodyKeepsWatch),
        Box::new(incarnations::IncarnationsOnlyGrow::default()),
        Box::new(order::WordsArriveInOrder::default()),
        Box::new(sums::SharesAreWhatTheirOwnersHave::default()),
        Box::new(told::SharesAreTold::default()),
        Box::new(shares::SharesDieWithTheirOwner),
        Box::new(pair_shares::BothSharesEnd::default()),
        Box::new(pair_ends::EveryPairEnds::default()),
        Box::new(right_answers::NoWrongAnswer),
        Box::new(budget::GossipStaysWithinBudget),
        Box::new(bounds::NothingIsUnbounded),
        Box::new(failures::NoActorFails),
        Box::new(memory::MemoryIsFlat::default()),
        Box::new(claims::PrefixClaimsAreHonest::default()),
        Box::new(stampede::NoStampede::new(plan)),
        Box::new(presence::EveryoneIsSeen),
        Box::new(recovery::EnginesAreKnownAgain),
        Box::new(views::ViewsAreEqual::default()),
        Box::new(agreement::DecisionsAgree::default()),
        Box::new(pair_agreement::PairsAgree::default()),
        Box::new(refusals::RefusalsStop),
        Box::new(serving::EverybodyIsServed::default()),
        Box::new(evenness::LoadEvensOut::new(plan)),
    ]
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_invariants_lists_each_with_its_meaning() {
        let table = include_str!("../../../README.md");
        for invariant in all(&Plan::from_seed(0)) {
            let About { name, kind, meaning } = invariant.about();
            let row = format!("| `{name}` | {} | {meaning} |\n", kind.as_str());
            assert!(table.contains(&row), "chaos/README.md lacks the row\n{row}");
        }
        assert_eq!(
            table.matches(" | safety | ").count() + table.matches(" | recovery | ").count(),
            all(&Plan::from_seed(0)).len()
        );
    }
}
