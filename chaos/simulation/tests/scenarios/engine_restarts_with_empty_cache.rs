//! An engine restarts and loses its cache. Requests that it held fail, others go elsewhere while it is away, and it is
//! used again once it is back.
#![allow(clippy::unwrap_used)]

use murmuration_simulation::history::End;

use crate::told::{s, tell};

#[test]
fn it_is_used_again_once_it_is_back() {
    let plan = include_str!("../../../plans/scenarios/engine-restarts-with-empty-cache.yaml");
    tell("engine_restarts_with_empty_cache::it_is_used_again_once_it_is_back", plan, |told| {
        let failed = told.requests(s(0.0, 9.0)).into_iter().filter(|request| request.end != End::Served);
        let late: Vec<_> = failed.filter(|request| !s(2.0, 5.5).contains(&request.asked)).collect();
        assert!(late.is_empty(), "{late:?}");
        let again = told
            .requests(s(5.5, 9.0))
            .into_iter()
            .filter(|request| request.to.as_deref().is_some_and(|to| to.ends_with("-1")));
        assert!(again.count() > 5);
    });
}
