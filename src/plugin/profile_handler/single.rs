//! `single-profile-handler`: runs the only profile, for decoding.
//!
//! The configuration refuses it together with several profiles.

use crate::plugin::contract::{Invalid, NoParameters, Produced, ProfileHandler, ProfileHandlerPlugin};
use crate::schedule::Ask;
use crate::schedule::decision::Stage;

/// `single-profile-handler`: runs the only profile. A configuration with several profiles needs another handler.
#[derive(Clone, Copy, Debug)]
pub struct SingleProfileHandler;

// === impl SingleProfileHandler ===

impl ProfileHandler for SingleProfileHandler {
    fn stages(&self, _: &Ask<'_>, _: &[String]) -> Vec<(usize, Stage)> {
        vec![(0, Stage::Decode)]
    }
}

impl ProfileHandlerPlugin for SingleProfileHandler {
    const TYPE: &'static str = "single-profile-handler";
    const READS: &'static [Produced] = &[];
    type Parameters = NoParameters;

    fn build(_: NoParameters) -> Result<Self, Invalid> {
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::request;

    #[test]
    fn the_first_profile_decodes() {
        let request = request(1, 0);
        let stages = SingleProfileHandler.stages(&Ask::sure(&request), &["default".to_owned()]);
        assert_eq!(stages, [(0, Stage::Decode)]);
    }
}
