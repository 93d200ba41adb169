//! Two replicas that both died believe the same once requests have ended, and so they answer alike (seed 900000470).
#![allow(clippy::unwrap_used)]

use murmuration_chaos::chronicle::{Fact, Phase};

use crate::told::tell;

#[test]
fn equal_views_give_equal_answers_when_nobody_asks() {
    let plan = include_str!("../../plans/stories/two-deaths-and-then-quiet.yaml");
    tell("two_deaths_and_then_quiet::equal_views_give_equal_answers_when_nobody_asks", plan, |told| {
        let rest = told.entries.iter().skip_while(|entry| entry.fact != Fact::Phase(Phase::Rest));
        let twins = rest.filter(|entry| matches!(entry.fact, Fact::Twins(_))).count();
        assert!(twins >= 2, "{twins}");
    });
}
