//! Two replicas that both died believe the same once requests have ended, and so give the same answers (seed
//! 900000470).
#![allow(clippy::unwrap_used)]

use murmuration_simulation::history::{Fact, Phase};

use crate::told::tell;

#[test]
fn equal_views_give_equal_answers_after_the_last_request() {
    let plan = include_str!("../../../plans/scenarios/two-deaths-and-then-quiet.yaml");
    tell("two_deaths_and_then_quiet::equal_views_give_equal_answers_after_the_last_request", plan, |told| {
        let quiesced = told.entries.iter().skip_while(|entry| entry.fact != Fact::Phase(Phase::Quiesced));
        let twins = quiesced.filter(|entry| matches!(entry.fact, Fact::Twins(_))).count();
        assert!(twins >= 2, "{twins}");
    });
}
