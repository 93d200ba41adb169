//! `header-profile-handler`: the request names its profile in a header.
//!
//! For llm-d's coordinator, which sends each stage of a request by itself. Must not know what the profiles do.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::plugin::contract::{ProfileHandler, Runs};
use crate::plugin::registration::{Invalid, Plugin, Produced, Roles};
use crate::schedule::{Header, Stage, Step, Steps};

/// llm-d's parameters and defaults.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct HeaderProfileParameters {
    /// The header whose value names the profile.
    header_name: String,
    /// The profile of requests without the header.
    default_profile: String,
}

/// `header-profile-handler`: runs the profile that the request names in a header. A configuration with one profile runs
/// that, whatever the header says. A request that names a profile that does not exist is refused with 400.
#[derive(Clone, Debug)]
pub struct HeaderProfileHandler {
    header: String,
    default: String,
}

/// llm-d's defaults; empty parameters stand for them.
const HEADER_DEFAULT: &str = "EPP-Profile";
const PROFILE_DEFAULT: &str = "decode";

// === impl HeaderProfileParameters ===

impl Default for HeaderProfileParameters {
    fn default() -> Self {
        Self { header_name: HEADER_DEFAULT.to_owned(), default_profile: PROFILE_DEFAULT.to_owned() }
    }
}

// === impl HeaderProfileHandler ===

impl ProfileHandler for HeaderProfileHandler {
    fn runs(&self) -> Runs<'_> {
        Runs::Requested
    }

    fn profile_header(&self) -> Option<&str> {
        Some(&self.header)
    }

    fn next<'h>(&'h self, steps: &mut Steps<'h>) -> Step<'h> {
        let (profiles, asked) = (steps.profiles(), steps.ask().request.profile.clone());
        let wanted = asked.as_deref().unwrap_or(&self.default);
        let found = match profiles {
            [only] => Some(only),
            several => several.iter().find(|known| *known == wanted),
        };
        let Some(profile) = found else {
            let (header, known) = (&self.header, profiles.join(", "));
            return Step::Reject(match asked {
                Some(_) => format!("the header {header} names the profile {wanted:?}; known are {known}"),
                None => format!("the header {header} must name a profile: {known}"),
            });
        };
        match steps.chosen(profile) {
            None => Step::Run { profile, stage: Stage::Decode },
            Some([]) => Step::Refuse,
            Some(_) => Step::Done(vec![profile]),
        }
    }
}

impl Plugin for HeaderProfileHandler {
    const TYPE: &'static str = "header-profile-handler";
    const READS: &'static [Produced] = &[];
    type Parameters = HeaderProfileParameters;

    fn build(parameters: HeaderProfileParameters) -> Result<Self, Invalid> {
        let or = |given: &str, default: &str| {
            Some(given.trim()).filter(|given| !given.is_empty()).unwrap_or(default).to_owned()
        };
        let header = or(&parameters.header_name, HEADER_DEFAULT).to_ascii_lowercase();
        Header::new(&header, "").map_err(|why| format!("headerName: {why}"))?;
        Ok(Self { header, default: or(&parameters.default_profile, PROFILE_DEFAULT) })
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::profile_handler(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plugin::testing::{request, target};
    use crate::schedule::Ask;

    /// The first step for a request that names `profile`.
    fn first(profile: Option<&str>, profiles: &[&str]) -> String {
        let handler = HeaderProfileHandler::build(HeaderProfileParameters::default()).unwrap();
        let mut request = request(1, 0);
        request.profile = profile.map(str::to_owned);
        let (ask, profiles) = (Ask::sure(&request), profiles.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let mut steps = Steps::new(&ask, &profiles, &[]);
        match handler.next(&mut steps) {
            Step::Run { profile, stage: Stage::Decode } => {
                steps.ran_for_test(profile, Stage::Decode, vec![target("e0", 0)]);
                assert_eq!(handler.next(&mut steps), Step::Done(vec![profile]));
                profile.to_owned()
            }
            Step::Reject(sentence) => sentence,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_header_names_the_profile_and_without_it_the_default_runs() {
        let stages = ["encode", "prefill", "decode"];
        assert_eq!(first(Some("prefill"), &stages), "prefill");
        assert_eq!(first(None, &stages), "decode");
        let sentence = first(Some("Prefill"), &stages);
        assert!(
            sentence.contains("epp-profile") && sentence.contains("known are encode, prefill, decode"),
            "{sentence}"
        );
        assert_eq!(first(Some("anything"), &["only"]), "only", "there is nothing to choose");
    }

    #[test]
    fn empty_parameters_are_the_defaults_and_a_name_that_is_no_header_is_refused() {
        let build = |header: &str| {
            let header_name = header.to_owned();
            HeaderProfileHandler::build(HeaderProfileParameters { header_name, default_profile: String::new() })
        };
        let handler = build(" ").unwrap();
        assert_eq!((handler.profile_header(), handler.default.as_str()), (Some("epp-profile"), "decode"));
        assert!(build("a b").unwrap_err().contains("headerName"));
    }
}
