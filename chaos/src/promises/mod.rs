//! What the tier promises, whatever happens: one promise a file, each judged by the chronicle alone.
//!
//! Must not know the simulation. A promise says exactly what is legal while a fault is in force, and for how long after it; what it can't
//! see it does not judge. The two kinds are told apart: a broken *safety* promise is wrong at that moment, a broken *healing* promise says
//! that something did not become well in time.

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
pub(crate) mod presence;
mod recovery;
mod refusals;
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

use crate::chronicle::{Entry, Fact};
use crate::plan::Plan;

pub use scene::Scene;

/// For how long after a replica's death or silence its peers may count its open work.
pub const CLEANUP: Duration = Duration::from_secs(2);
/// How soon after the end of the storm all must be well.
pub const HEALING: Duration = Duration::from_secs(2);

/// Which kind of promise it is, and so how a run ends that breaks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing wrong ever happens.
    Safety,
    /// What is well again becomes so in time.
    Healing,
}

/// One promise.
pub trait Promise {
    /// Its name.
    fn name(&self) -> &'static str;
    /// What it says, in a sentence.
    fn meaning(&self) -> &'static str;
    /// Its kind.
    fn kind(&self) -> Kind {
        Kind::Safety
    }
    /// Looks at what happened; `scene` has seen it already.
    ///
    /// # Errors
    /// How the promise is broken.
    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken>;
    /// Looks back when the chronicle is whole.
    ///
    /// # Errors
    /// How the promise is broken.
    fn end(&mut self, _scene: &Scene) -> Result<(), Broken> {
        Ok(())
    }
}

/// How a promise is broken: a sentence with the numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a replica told that its scheduler starts again: it holds nothing of what it had.
fn scheduler_restarted(fact: &Fact) -> bool {
    matches!(fact, Fact::Told(Event::ActorRestarted { actor, .. }) if actor.starts_with("scheduler"))
}

/// Breaks a promise with a sentence.
macro_rules! broken {
    ($($told:tt)*) => { Err($crate::promises::Broken(format!($($told)*))) };
}
use broken;

/// All promises, for a run of `plan`. The order is the one in which they are told.
pub fn all(plan: &Plan) -> Vec<Box<dyn Promise>> {
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
    fn the_table_of_promises_has_each_with_its_meaning() {
        let table = include_str!("../../README.md");
        for promise in all(&Plan::from_seed(0)) {
            let kind = if promise.kind() == Kind::Safety { "safety" } else { "healing" };
            let row = format!("| `{}` | {kind} | {} |\n", promise.name(), promise.meaning());
            assert!(table.contains(&row), "chaos/README.md lacks the row\n{row}");
        }
        assert_eq!(
            table.matches(" | safety | ").count() + table.matches(" | healing | ").count(),
            all(&Plan::from_seed(0)).len()
        );
    }
}
