//! The contract of deciders. It is apart from the other contracts because those need `schedule/steps.rs`, and the steps
//! need this one: they keep the verdicts.
//!
//! Must not know who asks.

use std::fmt::Debug;

use crate::schedule::{Ask, Stage, Target};

/// Decides whether a stage of a request gets an endpoint of its own.
pub trait Decider: Debug + Send + Sync {
    /// The verdict on `stage`. `chosen` is the endpoint that would do the work otherwise, if it is chosen already.
    fn decide(&self, ask: &Ask<'_>, stage: Stage, chosen: Option<&Target>) -> Verdict;
}

/// A decider's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the stage gets an endpoint of its own.
    pub separate: bool,
    /// Why, for people.
    pub reason: String,
}
