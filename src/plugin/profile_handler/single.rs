//! `single-profile-handler`: runs the only profile, for decoding.
//!
//! The configuration refuses it together with several profiles.

use std::sync::Arc;

use crate::plugin::contract::{ProfileHandler, Runs};
use crate::plugin::registration::{Invalid, NoParameters, Plugin, Produced, Roles};
use crate::schedule::{Stage, Step, Steps};

/// `single-profile-handler`: runs the only profile. A configuration with several profiles needs another handler.
#[derive(Clone, Copy, Debug)]
pub struct SingleProfileHandler;

// === impl SingleProfileHandler ===

impl ProfileHandler for SingleProfileHandler {
    fn runs(&self) -> Runs<'_> {
        Runs::TheOnly
    }

    fn next<'h>(&'h self, steps: &mut Steps<'h>) -> Step<'h> {
        self.only(steps)
    }
}

impl SingleProfileHandler {
    /// The only profile, once.
    pub(super) fn only<'h>(self, steps: &Steps<'h>) -> Step<'h> {
        let Some(profile) = steps.profiles().first() else { return Step::Refuse };
        match steps.chosen(profile) {
            None => Step::Run { profile, stage: Stage::Decode },
            Some(_) => Step::Done(vec![profile]),
        }
    }
}

impl Plugin for SingleProfileHandler {
    const TYPE: &'static str = "single-profile-handler";
    const READS: &'static [Produced] = &[];
    type Parameters = NoParameters;

    fn build(_: NoParameters) -> Result<Self, Invalid> {
        Ok(Self)
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::profile_handler(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::{request, target};
    use crate::schedule::Ask;

    #[test]
    fn the_only_profile_decodes() {
        let (request, profiles) = (request(1, 0), ["default".to_owned()]);
        let ask = Ask::sure(&request);
        let mut steps = Steps::new(&ask, &profiles, &[]);
        let run = Step::Run { profile: "default", stage: Stage::Decode };
        assert_eq!(SingleProfileHandler.next(&mut steps), run);
        steps.ran_for_test("default", Stage::Decode, vec![target("e0", 0)]);
        assert_eq!(SingleProfileHandler.next(&mut steps), Step::Done(vec!["default"]));
    }
}
