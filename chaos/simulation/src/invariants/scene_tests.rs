//! What an observer knows, and until when.

use super::*;
use crate::invariants::testing::{HistoryBuilder, ms};
use crate::plan::Place;

fn scene(history: &HistoryBuilder) -> Scene {
    let mut scene = Scene::new(&history.plan);
    history.entries.iter().for_each(|entry| scene.see(entry));
    scene
}

#[test]
fn a_fault_is_felt_while_it_lasts_and_for_its_aftermath() {
    let freeze = Fault::Freeze { who: Place::Replica(1) };
    let mut history = HistoryBuilder::with(vec![freeze.clone()]);
    assert!(!scene(&history).feels(ms(60_000), |_| true));
    history.at(2_000).world(Fact::FaultBegan(0));
    assert_eq!(scene(&history).frozen_since(1), Some(ms(2_000)));
    assert_eq!(scene(&history).frozen_since(0), None);
    history.at(3_000).world(Fact::FaultEnded(0));
    history.phase(4_000, Phase::Recovery);
    let scene = scene(&history);
    assert_eq!(scene.frozen_since(1), None);
    assert!(scene.feels(ms(1_000), |fault| *fault == freeze));
    assert!(!scene.feels(ms(999), |_| true));
    assert!(scene.awake_for(1, ms(999)) && !scene.awake_for(1, ms(1_000)));
}

#[test]
fn a_replica_that_was_dead_has_its_next_start() {
    let mut history = HistoryBuilder::calm();
    history.at(2_000).by(1, Fact::Stopped);
    let dead = scene(&history);
    assert_eq!((dead.dead_since(1), dead.lives(1), dead.started(1)), (Some(ms(2_000)), false, None));
    assert_eq!(dead.living().collect::<Vec<_>>(), [0, 2]);
    history.entries.push(Entry { at: ms(3_000), by: Source::Replica(1, 1), fact: Fact::Started });
    let alive = scene(&history);
    assert_eq!((alive.dead_since(1), alive.started(1), alive.life(1)), (None, Some(ms(3_000)), 1));
}

#[test]
fn a_phase_settles_after_its_time_and_never_unsettles() {
    let mut history = HistoryBuilder::calm();
    history.phase(5_000, Phase::Recovery).at(6_999).by(0, Fact::Started);
    assert!(!scene(&history).settled(Phase::Recovery, ms(2_000)));
    history.at(7_000).by(0, Fact::Started);
    assert!(scene(&history).settled(Phase::Recovery, ms(2_000)));
    history.phase(7_001, Phase::Recovered);
    assert!(
        scene(&history).settled(Phase::Recovery, ms(2_000)) && !scene(&history).settled(Phase::Recovered, ms(2_000))
    );
}

#[test]
fn a_cluster_rests_once_the_last_request_has_ended() {
    let mut history = HistoryBuilder::calm();
    history.at(9_000).ask(1, 0, 0);
    history.phase(10_000, Phase::Quiesced).at(15_000).by(0, Fact::Started);
    assert!(!scene(&history).rests(ms(0)));
    let end = crate::history::End::Served;
    history.client(Fact::Done { request: 1, end, first_token: None, prompt: (0, 0) });
    history.at(16_000).by(0, Fact::Started);
    assert!(scene(&history).rests(ms(1_000)) && !scene(&history).rests(ms(1_001)));
}
