//! `pair-profile-handler`: prefill and decode chosen together, by one price.
//!
//! Every endpoint alone and every pair is one way to serve a request; the cheapest wins, and there is no threshold.
//! `pair_price.rs` says what a way costs and in what, `pair_search.rs` how the cheapest is found. Must not know how open
//! work is counted or shared.

use std::sync::Arc;

use super::pair_field::{Field, Whose};
use super::pair_parameters::{PairDeciders, PairParameters, PairProfiles};
use super::pair_price::Prices;
use super::pair_search::{Way, prefillers_for, ways};
use super::stage::{Extra, extra};
use crate::plugin::contract::{ProfileHandler, Runs};
use crate::plugin::registration::{Invalid, Plugin, Roles};
use crate::schedule::pair::{PAIRS_MAX, PairExplanation, PairRow, Paired};
use crate::schedule::{Ask, Candidate, Stage, Step, Steps};

/// `pair-profile-handler`: chooses the endpoint that decodes together with the one that prefills for it, if that is
/// cheaper than computing the prompt where it is decoded. A price says so, in prompt tokens that somebody waits for:
/// what waits, what is not cached, the transfer, and what the prompt does to running answers. Profiles give filters
/// alone.
#[derive(Clone, Debug)]
pub struct PairProfileHandler {
    profiles: PairProfiles,
    deciders: PairDeciders,
    prices: Prices,
    prefillers: usize,
}

// === impl PairProfileHandler ===

impl PairProfileHandler {
    /// The best ways, the best first, with the best of both kinds among them.
    fn shown(mut ways: Vec<Way>) -> Vec<Way> {
        let alone = ways.iter().filter(|way| way.prefill().is_none()).min().copied();
        let paired = ways.iter().filter(|way| way.prefill().is_some()).min().copied();
        if ways.len() > PAIRS_MAX {
            ways.select_nth_unstable(PAIRS_MAX);
            ways.truncate(PAIRS_MAX);
        }
        ways.sort_unstable();
        for best in [alone, paired].into_iter().flatten().filter(|best| !ways.contains(best)).collect::<Vec<_>>() {
            ways.pop();
            ways.push(best);
        }
        ways
    }

    fn reason(best: &Way, shown: &[Way], names: &impl Fn(&Way) -> String) -> String {
        let other = shown.iter().find(|way| way.prefill().is_some() != best.prefill().is_some());
        let cost = |way: &Way| format!("{} costs {:.0} tokens", names(way), way.cost.tokens());
        match other {
            Some(other) => format!("{}, {}", cost(best), cost(other)),
            None => format!("{}, and no endpoint may prefill for it", cost(best)),
        }
    }
}

impl ProfileHandler for PairProfileHandler {
    fn runs(&self) -> Runs<'_> {
        let encode = self.deciders.encode.as_ref().map(|_| self.profiles.encode.as_str());
        Runs::Named {
            required: vec![&self.profiles.decode, &self.profiles.prefill],
            optional: encode.into_iter().collect(),
        }
    }

    fn filters_only(&self) -> Vec<&str> {
        vec![&self.profiles.decode, &self.profiles.prefill]
    }

    fn deciders(&self) -> Vec<&str> {
        self.deciders.encode.iter().map(String::as_str).collect()
    }

    fn expects_others(&self) -> bool {
        true
    }

    fn next<'h>(&'h self, steps: &mut Steps<'h>) -> Step<'h> {
        let PairProfiles { decode, prefill, encode } = &self.profiles;
        match steps.chosen(decode) {
            None => return Step::Pair { decode, prefill },
            Some([]) => return Step::Refuse,
            Some(_) => {}
        }
        let mut done = vec![decode.as_str()];
        match extra(steps, encode, Stage::Encode, self.deciders.encode.as_ref(), Some(decode)) {
            Extra::Run => return Step::Run { profile: encode, stage: Stage::Encode },
            Extra::Found => done.push(encode),
            Extra::Unwanted | Extra::NotFound => {}
        }
        if steps.chosen(prefill).is_some_and(|targets| !targets.is_empty()) {
            done.push(prefill);
        }
        Step::Done(done)
    }

    fn pair(&self, ask: &Ask<'_>, decoders: &[Candidate<'_>], prefillers: &[Candidate<'_>]) -> Option<Paired> {
        let mut field = Field::new(ask, decoders, prefillers);
        for _ in 0..ask.before {
            field.add_other(&self.prices);
        }
        let (decode_side, prefill_side) = field.sides(&self.prices, Whose::Mine);
        let ways: Vec<Way> = ways(&decode_side, &prefill_side).collect();
        let best = *ways.iter().min()?;
        let shown = Self::shown(ways);
        let of = |rows: &[Candidate<'_>], at: usize| rows[at].endpoint.id.clone();
        let names = |way: &Way| match way.prefill() {
            Some(prefill) => format!("prefill on {} for {}", of(prefillers, prefill), of(decoders, way.decode)),
            None => format!("{} alone", of(decoders, way.decode)),
        };
        let listed = best.prefill().map_or_else(Vec::new, |_| {
            prefillers_for(best.decode, &decode_side[best.decode], &prefill_side, self.prefillers)
        });
        let row = |way: &Way| PairRow {
            decode: of(decoders, way.decode),
            prefill: way.prefill().map(|prefill| of(prefillers, prefill)),
            terms: field.terms(&self.prices, way),
        };
        Some(Paired {
            decode: best.decode,
            cost: best.cost.tokens(),
            prefill: listed.iter().filter_map(|way| Some((way.prefill()?, way.cost.tokens()))).collect(),
            reason: Self::reason(&best, &shown, &names),
            explanation: PairExplanation {
                decoders: decoders.len(),
                prefillers: prefillers.len(),
                rows: shown.iter().map(row).collect(),
            },
        })
    }
}

impl Plugin for PairProfileHandler {
    const TYPE: &'static str = "pair-profile-handler";
    type Parameters = PairParameters;

    fn build(parameters: PairParameters) -> Result<Self, Invalid> {
        let (prices, prefillers) = (parameters.prices()?, parameters.prefillers()?);
        let PairParameters { profiles, deciders, .. } = parameters;
        let PairProfiles { decode, prefill, encode } = &profiles;
        if decode == prefill || decode == encode || prefill == encode {
            return Err("profiles: `decode`, `prefill` and `encode` must be three profiles".to_owned());
        }
        Ok(Self { profiles, deciders, prices, prefillers })
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::profile_handler(self)
    }
}

#[cfg(test)]
#[path = "pair_tests.rs"]
mod tests;
