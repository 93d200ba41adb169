//! A stage that runs only where a decider wants it.
//!
//! Must not know the order of stages.

use crate::schedule::{Stage, Steps, Target};

/// The state of a stage that needs a decider's consent.
pub(super) enum Extra {
    /// It is to run now.
    Run,
    /// There is no decider or no profile for it, or the decider declined.
    Unwanted,
    /// It ran and found no endpoint.
    NotFound,
    /// It ran and found one.
    Found,
}

/// The state of `stage`. `instead` is the profile whose endpoint does the work otherwise.
pub(super) fn extra(
    steps: &mut Steps<'_>,
    profile: &str,
    stage: Stage,
    decider: Option<&String>,
    instead: Option<&str>,
) -> Extra {
    let Some(decider) = decider.filter(|_| steps.has(profile)) else { return Extra::Unwanted };
    match steps.chosen(profile).map(<[Target]>::is_empty) {
        None if steps.separate(decider, stage, instead) => Extra::Run,
        None => Extra::Unwanted,
        Some(true) => Extra::NotFound,
        Some(false) => Extra::Found,
    }
}
