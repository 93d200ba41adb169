//! `prefix-based-pd-decider`: a prefill endpoint of its own where the decode endpoint would have much to compute.
//!
//! Must not know loads: the threshold is the operator's.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::plugin::registration::{Invalid, Plugin, Produced, Roles};
use crate::plugin::verdict::{Decider, Verdict};
use crate::schedule::{Ask, Stage, Target};

/// llm-d's parameters and defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PrefixBasedPdParameters {
    /// Prompt tokens that the decode endpoint does not hold, at least this many, give the request a prefill endpoint.
    /// `0`: none gets one.
    pub non_cached_tokens: i64,
    /// Shorter prompts, in tokens, get none. `0`: no limit.
    pub prompt_tokens: i64,
}

/// `prefix-based-pd-decider`: a request gets a prefill endpoint if its decode endpoint would have many tokens of the
/// prompt to compute.
#[derive(Clone, Copy, Debug)]
pub struct PrefixBasedPdDecider {
    uncached_min: u64,
    prompt_min: u64,
}

// === impl PrefixBasedPdDecider ===

impl Decider for PrefixBasedPdDecider {
    fn decide(&self, ask: &Ask<'_>, _: Stage, chosen: Option<&Target>) -> Verdict {
        let apart = |separate, reason| Verdict { separate, reason };
        let prompt = &ask.request.prompt;
        let Some(chosen) = chosen else {
            return apart(false, "no decode endpoint is chosen yet".to_owned());
        };
        if self.uncached_min == 0 {
            return apart(false, "nonCachedTokens is 0: never".to_owned());
        }
        if prompt.tokens < self.prompt_min {
            return apart(false, format!("the prompt has {} tokens, fewer than {}", prompt.tokens, self.prompt_min));
        }
        let uncached = prompt.uncached(chosen.matched.blocks);
        let separate = uncached >= self.uncached_min;
        let compared = if separate { "at least" } else { "fewer than" };
        let (of, endpoint, limit) = (prompt.tokens, &chosen.endpoint, self.uncached_min);
        apart(separate, format!("{uncached} of {of} tokens are not cached on {endpoint}, {compared} {limit}"))
    }
}

impl Plugin for PrefixBasedPdDecider {
    const TYPE: &'static str = "prefix-based-pd-decider";
    const READS: &'static [Produced] = &[Produced::PrefixMatch];
    type Parameters = PrefixBasedPdParameters;

    fn build(parameters: PrefixBasedPdParameters) -> Result<Self, Invalid> {
        let of = |name: &str, value: i64| {
            u64::try_from(value).map_err(|_| format!("{name} must not be negative, got {value}"))
        };
        let uncached_min = of("nonCachedTokens", parameters.non_cached_tokens)?;
        Ok(Self { uncached_min, prompt_min: of("promptTokens", parameters.prompt_tokens)? })
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::decider(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plugin::testing::{request, target};

    fn verdict(non_cached_tokens: i64, prompt_tokens: i64, held: u32) -> bool {
        let decider =
            PrefixBasedPdDecider::build(PrefixBasedPdParameters { non_cached_tokens, prompt_tokens }).unwrap();
        let request = request(1, 10);
        decider.decide(&Ask::sure(&request), Stage::Prefill, Some(&target("d0", held))).separate
    }

    #[test]
    fn the_uncached_rest_of_the_prompt_decides_as_in_llm_d() {
        assert!(verdict(64, 0, 9), "64 of 640 tokens are left");
        assert!(!verdict(65, 0, 9));
        assert!(!verdict(0, 0, 0), "0 means never");
        assert!(!verdict(641, 0, 0), "no prompt is that long");
        assert!(verdict(1, 640, 0) && !verdict(1, 641, 0), "the gate on the prompt's length");
    }

    #[test]
    fn without_a_decode_endpoint_nothing_is_known_and_negative_limits_are_refused() {
        let decider = PrefixBasedPdDecider { uncached_min: 1, prompt_min: 0 };
        assert!(!decider.decide(&Ask::sure(&request(1, 10)), Stage::Prefill, None).separate);
        let negative = PrefixBasedPdParameters { prompt_tokens: -1, ..Default::default() };
        assert!(PrefixBasedPdDecider::build(negative).unwrap_err().contains("promptTokens"));
    }
}
