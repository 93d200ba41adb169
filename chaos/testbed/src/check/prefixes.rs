//! Where requests with a shared prefix were answered.
//!
//! Must not know how they were sent.

use std::collections::BTreeMap;

/// One request of a group. A group is sent in order: each request is answered before the next is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The engine that answered.
    pub engine: String,
    /// Tokens of its prompt.
    pub prompt_tokens: u64,
    /// Tokens that the engine had in its cache; `None` where it does not report them.
    pub cached_tokens: Option<u64>,
}

/// On how many engines a shared prefix may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeetingRule {
    /// Most engines on which one prefix may be.
    pub engines_max: usize,
}

// === impl MeetingRule ===

impl MeetingRule {
    /// The rule where each replica knows only its own placements: a prefix may be on one engine for each replica. With
    /// fewer engines than replicas this bound always holds, and only cached tokens are checked.
    pub fn per_replica(replicas: usize, engines: usize) -> Self {
        Self { engines_max: replicas.min(engines).max(1) }
    }

    /// The rule where replicas share placements: a prefix is on one engine.
    pub fn across_replicas() -> Self {
        Self { engines_max: 1 }
    }

    /// What is wrong with a group's visits; empty if nothing is.
    pub fn errors(self, group: &str, visits: &[Visit]) -> Vec<String> {
        let mut errors = Vec::new();
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (number, visit) in visits.iter().enumerate() {
            let before = seen.entry(visit.engine.as_str()).or_default();
            *before += 1;
            if *before == 1 {
                continue;
            }
            match visit.cached_tokens {
                Some(1..) => {}
                Some(0) => errors.push(format!(
                    "{group}: visit {} found none of the shared prefix on {}, which had answered {} of the group \
                     before; does the engine cache prefixes, or was it evicted?",
                    number + 1,
                    visit.engine,
                    *before - 1
                )),
                None => errors.push(format!(
                    "{group}: visit {} to {}: its usage has no cached_tokens; was the engine started with \
                     --enable-prompt-tokens-details?",
                    number + 1,
                    visit.engine
                )),
            }
        }
        if seen.len() > self.engines_max {
            errors.push(format!(
                "{group}: its shared prefix went to {} engines ({}), at most {} were right; is prefix-cache-scorer in \
                 the profile, and outweighed by no other?",
                seen.len(),
                seen.iter().map(|(engine, visits)| format!("{engine}: {visits}")).collect::<Vec<_>>().join(", "),
                self.engines_max
            ));
        }
        errors
    }
}

/// Cached tokens divided by all prompt tokens, 0 to 1; 0 without prompts.
pub(super) fn cached_share<'v>(visits: impl IntoIterator<Item = &'v Visit>) -> f64 {
    let (cached, all) = visits
        .into_iter()
        .fold((0, 0), |(cached, all), visit| (cached + visit.cached_tokens.unwrap_or(0), all + visit.prompt_tokens));
    if all == 0 { 0.0 } else { cached as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visits(visits: &[(&str, Option<u64>)]) -> Vec<Visit> {
        let visit = |&(engine, cached_tokens): &(&str, _)| Visit {
            engine: engine.to_owned(),
            prompt_tokens: 100,
            cached_tokens,
        };
        visits.iter().map(visit).collect()
    }

    #[test]
    fn a_prefix_may_be_on_one_engine_for_each_replica_and_no_more() {
        let met = visits(&[("a", Some(0)), ("b", Some(0)), ("a", Some(96)), ("b", Some(96))]);
        assert_eq!(MeetingRule::per_replica(2, 4).errors("g", &met), Vec::<String>::new());
        let errors = MeetingRule::across_replicas().errors("g", &met);
        assert_eq!(errors.len(), 1);
        assert!(errors[0].starts_with("g: its shared prefix went to 2 engines (a: 2, b: 2), at most 1"), "{errors:?}");
    }

    #[test]
    fn a_second_visit_must_find_something() {
        let forgotten = visits(&[("a", Some(0)), ("a", Some(0)), ("a", Some(96)), ("a", None)]);
        let errors = MeetingRule::across_replicas().errors("g", &forgotten);
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].contains("visit 2 found none"), "{errors:?}");
        assert!(errors[1].contains("visit 4 to a: its usage has no cached_tokens"), "{errors:?}");
    }

    #[test]
    fn the_bound_is_never_below_one_engine() {
        assert_eq!(MeetingRule::per_replica(0, 4).engines_max, 1);
        assert_eq!(MeetingRule::per_replica(8, 4).engines_max, 4);
    }

    #[test]
    fn the_share_weighs_prompts_by_their_tokens() {
        let mut some = visits(&[("a", Some(0)), ("a", Some(90)), ("b", None)]);
        some[1].prompt_tokens = 200;
        assert_eq!(cached_share(&some), 90.0 / 400.0);
        assert_eq!(cached_share(&[]), 0.0);
    }
}
