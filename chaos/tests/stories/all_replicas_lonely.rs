//! Nobody hears anybody. Requests of one conversation come to different replicas, and still meet on one engine, because whoever is alone places
//! by the prompt itself.
#![allow(clippy::unwrap_used)]

use murmuration_chaos::chronicle::End;

use crate::told::{s, tell};

#[test]
fn conversations_still_meet() {
    let plan = include_str!("../../plans/stories/all-replicas-lonely.yaml");
    tell("all_replicas_lonely::conversations_still_meet", plan, |told| {
        let (before, alone) = (told.cached(s(2.0, 4.0)), told.cached(s(6.0, 9.0)));
        assert!(before > 0.3 && alone >= 0.8 * before, "cached {before:.3} before, {alone:.3} alone");
        assert!(told.requests(s(0.0, 10.0)).iter().all(|request| request.end == End::Served));
    });
}
