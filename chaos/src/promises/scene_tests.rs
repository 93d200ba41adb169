//! What an onlooker knows, and until when.

use super::*;
use crate::plan::Place;
use crate::promises::testing::{Tale, ms};

fn scene(tale: &Tale) -> Scene {
    let mut scene = Scene::new(&tale.plan);
    tale.entries.iter().for_each(|entry| scene.see(entry));
    scene
}

#[test]
fn a_fault_is_felt_while_it_lasts_and_for_its_aftermath() {
    let freeze = Fault::Freeze { who: Place::Replica(1) };
    let mut tale = Tale::with(vec![freeze.clone()]);
    assert!(!scene(&tale).feels(ms(60_000), |_| true));
    tale.at(2_000).world(Fact::Struck(0));
    assert_eq!(scene(&tale).frozen_since(1), Some(ms(2_000)));
    assert_eq!(scene(&tale).frozen_since(0), None);
    tale.at(3_000).world(Fact::Lifted(0));
    tale.phase(4_000, Phase::Healing);
    let scene = scene(&tale);
    assert_eq!(scene.frozen_since(1), None);
    assert!(scene.feels(ms(1_000), |fault| *fault == freeze));
    assert!(!scene.feels(ms(999), |_| true));
    assert!(scene.awake_for(1, ms(999)) && !scene.awake_for(1, ms(1_000)));
}

#[test]
fn a_replica_that_was_dead_is_in_its_next_life() {
    let mut tale = Tale::calm();
    tale.at(2_000).by(1, Fact::Gone);
    let dead = scene(&tale);
    assert_eq!((dead.dead_since(1), dead.lives(1), dead.born(1)), (Some(ms(2_000)), false, None));
    assert_eq!(dead.living().collect::<Vec<_>>(), [0, 2]);
    tale.entries.push(Entry { at: ms(3_000), by: Witness::Replica(1, 1), fact: Fact::Born });
    let alive = scene(&tale);
    assert_eq!((alive.dead_since(1), alive.born(1), alive.life(1)), (None, Some(ms(3_000)), 1));
}

#[test]
fn a_phase_settles_after_its_time_and_never_unsettles() {
    let mut tale = Tale::calm();
    tale.phase(5_000, Phase::Healing).at(6_999).by(0, Fact::Born);
    assert!(!scene(&tale).settled(Phase::Healing, ms(2_000)));
    tale.at(7_000).by(0, Fact::Born);
    assert!(scene(&tale).settled(Phase::Healing, ms(2_000)));
    tale.phase(7_001, Phase::Healed);
    assert!(scene(&tale).settled(Phase::Healing, ms(2_000)) && !scene(&tale).settled(Phase::Healed, ms(2_000)));
}

#[test]
fn a_town_rests_once_the_last_answer_is_over() {
    let mut tale = Tale::calm();
    tale.at(9_000).ask(1, 0, 0);
    tale.phase(10_000, Phase::Rest).at(15_000).by(0, Fact::Born);
    assert!(!scene(&tale).rests(ms(0)));
    let end = crate::chronicle::End::Served;
    tale.client(Fact::Done { request: 1, end, first_token: None, prompt: (0, 0) });
    tale.at(16_000).by(0, Fact::Born);
    assert!(scene(&tale).rests(ms(1_000)) && !scene(&tale).rests(ms(1_001)));
}
