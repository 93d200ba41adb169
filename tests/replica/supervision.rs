//! Parts of a real replica are killed under load: requests are answered and knowledge comes back. A part that fails for
//! good ends the replica with a reason.

use std::time::Duration;

use murmuration::fleet::Trust;
use murmuration::request::InferenceRequest;
use murmuration_kit::ext_proc::expect::{COMPLETION, destination, post};
use murmuration_kit::{Config, Engine, Replica};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

async fn watching(engines: &[Engine]) -> Replica {
    Replica::watching(Config::default(), engines).await
}

async fn engines(count: usize) -> Vec<Engine> {
    Engine::several(count, 3, 2).await
}

/// Waits until every endpoint's load is known exactly. Returns how long that took.
async fn until_all_known(replica: &Replica, engines: &[Engine]) -> Duration {
    let began = Instant::now();
    for engine in engines {
        replica.until_endpoint(engine.address, |e| e.trust == Trust::Exact && e.report.is_some()).await;
    }
    began.elapsed()
}

#[tokio::test]
async fn a_scheduler_that_is_killed_under_load_fails_no_request_and_learns_every_endpoint_again() {
    let engines = engines(8).await;
    let replica = watching(&engines).await;
    until_all_known(&replica, &engines).await;
    let mut requests = JoinSet::new();
    let mut pace = interval(Duration::from_millis(5));
    for n in 0..400 {
        pace.tick().await;
        if n % 100 == 50 {
            assert!(replica.inner.kill_part("scheduler"), "it runs");
        }
        let scheduler = replica.inner.scheduler().clone();
        requests.spawn(async move {
            let request = InferenceRequest { sees_response: true, ..InferenceRequest::default() };
            murmuration_actors::scheduler::Decider::ask(&scheduler, request).await.map(|_| ())
        });
    }
    let answers = requests.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 0, "of {} requests", answers.len());
    assert!(until_all_known(&replica, &engines).await < Duration::from_secs(20), "every endpoint reported again");
    assert_eq!(replica.metric("murmuration_actor_restarts_total{kind=\"scheduler\"}"), 4);
    assert_eq!(replica.open_tickets().await, 0);
}

#[tokio::test]
async fn every_part_that_is_killed_comes_back_and_the_replica_serves_on() {
    let engines = engines(2).await;
    let mut replica = watching(&engines).await;
    let parts = replica.inner.parts();
    for part in ["admin", "discovery", "ext-proc", "gauges", "health", "pool", "scheduler"] {
        assert!(parts.iter().any(|name| name == part), "{part} is none of {parts:?}");
    }
    assert_eq!(parts.iter().filter(|name| name.starts_with("endpoint ")).count(), engines.len());
    for part in &parts {
        assert!(replica.inner.kill_part(part), "{part} runs");
        sleep(Duration::from_millis(50)).await;
        replica.ready().await;
    }
    assert_eq!(replica.inner.parts(), parts, "no part is duplicated, and none is missing");
    until_all_known(&replica, &engines).await;
    let (head, _) = replica.ask(post(&[]), COMPLETION).await;
    assert!(engines.iter().any(|engine| engine.name() == destination(&head)));
}

#[tokio::test]
async fn a_pool_that_is_killed_leaves_one_watcher_for_each_endpoint() {
    let engines = engines(1).await;
    let replica = watching(&engines).await;
    until_all_known(&replica, &engines).await;
    for _ in 0..5 {
        replica.inner.kill_part("pool");
        sleep(Duration::from_millis(100)).await;
    }
    // The endpoint is announced at another address: the old one must not be scraped any more.
    let moved = Engine::showing(1, 1).await;
    replica.announce(&[&moved.name()]);
    while replica.fleet().await.endpoints.iter().all(|e| e.endpoint.address != moved.address) {
        sleep(Duration::from_millis(20)).await;
    }
    replica.until_endpoint(moved.address, |e| e.trust == Trust::Exact).await;
    sleep(Duration::from_millis(200)).await;
    let before = engines[0].pages();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(engines[0].pages(), before, "the old address has no watcher");
}

#[tokio::test]
async fn a_part_that_can_not_run_ends_the_replica_with_a_reason() {
    let engines = engines(1).await;
    let replica = watching(&engines).await;
    let failed = replica.inner.failed();
    let killer = async {
        // Each pause before a restart is longer. The part is killed again after each restart.
        loop {
            replica.inner.kill_part("scheduler");
            sleep(Duration::from_millis(5)).await;
        }
    };
    let failed = tokio::select! {
        failed = failed => failed,
        () = killer => unreachable!(),
    };
    assert_eq!((failed.part.as_str(), failed.attempts, failed.why.as_str()), ("scheduler", 10, "it was killed"));
    assert_eq!(replica.inner.readiness().borrow().down, Some("scheduler"));
}
