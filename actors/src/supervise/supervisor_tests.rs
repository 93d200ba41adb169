//! All kinds of failure, in virtual time.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::timeout;

use super::*;
use crate::supervise::live;
use crate::telemetry::span::Tracer;

/// A supervisor, its readiness, and the events that it recorded.
struct Scene {
    supervisor: Supervisor,
    readiness: watch::Receiver<Readiness>,
    events: Arc<Mutex<Vec<Event>>>,
}

/// An actor that fails on request.
struct FailingActor;

enum Failure {
    Panic,
    Error,
    Stop,
}

impl Actor for FailingActor {
    type Msg = Failure;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Failure>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, myself: ActorRef<Failure>, failure: Failure, (): &mut ()) -> Result<(), ActorProcessingErr> {
        match failure {
            Failure::Panic => panic!("a failure"),
            Failure::Error => Err("an error".into()),
            Failure::Stop => {
                myself.stop(Some("told to".to_owned()));
                Ok(())
            }
        }
    }
}

impl Scene {
    fn new() -> Self {
        let events = Arc::<Mutex<Vec<Event>>>::default();
        let recorded = events.clone();
        let telemetry = Telemetry::new("pool", Tracer::default()).unwrap();
        let telemetry =
            telemetry.with_observer(Arc::new(move |event: &Event| recorded.lock().unwrap().push(event.clone())));
        let (sender, readiness) = watch::channel(Readiness { synced: true, ..Readiness::default() });
        Self { supervisor: Supervisor::new(Clock::start(), telemetry, Arc::new(sender)), readiness, events }
    }

    fn restarts(&self) -> Vec<(String, String)> {
        let events = self.events.lock().unwrap();
        let restart = |event: &Event| match event {
            Event::ActorRestarted { actor, why } => Some((actor.clone(), why.clone())),
            _ => None,
        };
        events.iter().filter_map(restart).collect()
    }
}

async fn pause() {
    sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_part_that_panics_errs_or_is_killed_is_recorded_and_restarted() {
    let (scene, starts) = (Scene::new(), Arc::new(AtomicU32::new(0)));
    let counted = starts.clone();
    let _ended = scene.supervisor.vital("part", move || {
        let start = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            match start {
                0 => panic!("at once"),
                1 => Err("no luck".to_owned()),
                _ => std::future::pending().await,
            }
        }
    });
    pause().await;
    assert!(scene.supervisor.kill("part") && !scene.supervisor.kill("nobody"));
    pause().await;
    let whys: Vec<String> = scene.restarts().into_iter().map(|(_, why)| why).collect();
    assert_eq!(whys, ["it panicked: at once", "no luck", "it was killed"]);
    assert_eq!(starts.load(Ordering::Relaxed), 4);
    assert!(scene.readiness.borrow().is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_vital_part_that_fails_again_and_again_takes_readiness_down_and_is_given_up_with_its_reason() {
    let scene = Scene::new();
    let mut failed = Box::pin(scene.supervisor.failed());
    let ended = scene.supervisor.vital("lane", || async { Err("a wall".to_owned()) });
    sleep(Duration::from_millis(5)).await;
    assert_eq!(scene.readiness.borrow().down, Some("lane"));
    assert!(timeout(Duration::from_secs(5), &mut failed).await.is_err(), "it is restarted for some seconds");
    let failed = timeout(Duration::from_secs(10), failed).await.unwrap();
    assert_eq!(failed, Failed { part: "lane".into(), attempts: FAILURES_MAX, why: "a wall".into() });
    assert!(failed.to_string().contains("lane") && failed.to_string().contains("10 times"));
    ended.wait().await;
    assert!(!scene.readiness.borrow().is_ready());
    assert!(scene.events.lock().unwrap().iter().any(|event| matches!(event, Event::PartGivenUp { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_tolerated_part_is_restarted_for_ever_and_ends_with_its_handle() {
    let (scene, starts) = (Scene::new(), Arc::new(AtomicU32::new(0)));
    let counted = starts.clone();
    let held = scene.supervisor.tolerated("endpoint a".to_owned(), move || {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Err("a torn page".to_owned()) }
    });
    sleep(Duration::from_secs(600)).await;
    assert!(starts.load(Ordering::Relaxed) > 100, "the longest pause is five seconds");
    assert!(scene.readiness.borrow().is_ready());
    assert_eq!(scene.supervisor.names(), ["endpoint a"]);
    drop(held);
    let before = starts.load(Ordering::Relaxed);
    sleep(Duration::from_secs(60)).await;
    assert_eq!((starts.load(Ordering::Relaxed), scene.supervisor.names().len()), (before, 0));
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_fails_in_any_way_is_a_part_that_failed() {
    let (scene, actors) = (Scene::new(), watch::channel(None));
    let (sender, mut actor) = actors;
    let sender = Arc::new(sender);
    let _ended = scene.supervisor.vital("failing", move || {
        let sender = sender.clone();
        async move { live(FailingActor, (), |actor| drop(sender.send_replace(Some(actor)))).await }
    });
    for failure in [Failure::Panic, Failure::Error, Failure::Stop] {
        actor.changed().await.unwrap();
        let current = actor.borrow_and_update().clone().unwrap();
        current.cast(failure).unwrap();
        pause().await;
    }
    assert!(scene.supervisor.kill("failing"));
    let last = actor.borrow().clone().unwrap();
    pause().await;
    assert!(last.cast(Failure::Stop).is_err(), "an actor is killed with its part");
    let whys: Vec<String> = scene.restarts().into_iter().map(|(_, why)| why).collect();
    assert_eq!(whys.len(), 4);
    for (why, part) in whys.iter().zip(["a failure", "an error", "told to", "killed"]) {
        assert!(why.contains(part), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_that_is_done_ends_and_a_stopped_supervisor_runs_nothing() {
    let scene = Scene::new();
    scene.supervisor.vital("once", || async { Ok(()) }).wait().await;
    assert!(scene.supervisor.names().is_empty() && scene.readiness.borrow().is_ready());
    let running = scene.supervisor.vital("long", || async { std::future::pending().await });
    scene.supervisor.stop_all();
    running.wait().await;
    let late = scene.supervisor.vital("late", || async { panic!("it must not run") });
    late.wait().await;
    assert!(scene.restarts().is_empty() && scene.supervisor.names().is_empty());
}
