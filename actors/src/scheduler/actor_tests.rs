//! How much other work a request may wait for, in units of work instead of time; and what survives a restart.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Mutex;

use murmuration::config;
use murmuration::plugin::Catalog;
use murmuration::replication::{Fact, InFlightReport, Placement};
use murmuration::request::{InferenceRequest, Outcome};
use murmuration::scheduler::recent::RECENT_MAX;
use ractor::RpcReplyPort;
use tokio::sync::watch;

use super::*;
use crate::environment::Announcement;
use crate::latest_value::LatestValue;
use crate::scheduler::Decider;
use crate::telemetry::span::Tracer;

/// Number of endpoints in the pool.
const ENDPOINTS: u16 = 1_000;

/// A scheduler state without its actor, its handle, and the channels that must stay open.
struct Scene {
    state: SchedulerState,
    handle: SchedulerHandle,
    _announced: watch::Sender<Option<Arc<Announcement>>>,
    _current: watch::Sender<Option<ActorRef<Message>>>,
}

fn endpoint(n: u16) -> Endpoint {
    let address = ([10, 0, (n >> 8) as u8, n as u8], 8000).into();
    Endpoint { id: EndpointId::new("default", &format!("e{n:04}")), address, labels: BTreeMap::new() }
}

fn arguments(
    handle: &SchedulerHandle,
    endpoints: u16,
) -> (SchedulerArguments, watch::Sender<Option<Arc<Announcement>>>) {
    let endpoints = (0..endpoints).map(endpoint).collect();
    let announcement = Announcement { endpoints, ..Announcement::default() };
    let (announced, known) = watch::channel(Some(Arc::new(announcement)));
    let build: Build = Arc::new(|| {
        let blueprint = config::read(config::default_text(), "the default configuration", &Catalog::builtin())?;
        let settings = SchedulerSettings {
            prefix: blueprint.prefix,
            in_flight: blueprint.in_flight,
            saturation: blueprint.saturation,
            index_bytes_max: 64 << 20,
            recent_max: RECENT_MAX,
            lease: Duration::from_secs(3600),
            sharing: false,
            trust_ages: murmuration::fleet::TrustAges::default(),
        };
        Ok((blueprint.profiles, settings))
    });
    let arguments = SchedulerArguments {
        build,
        clock: Clock::start(),
        telemetry: Telemetry::new("pool", Tracer::default()).unwrap(),
        handle: handle.clone(),
        announced: known,
        publisher: None,
        keeping: None,
        first_ticket: 0,
    };
    (arguments, announced)
}

impl Scene {
    fn new() -> Self {
        let (current, handle) = SchedulerHandle::unstarted(Duration::from_secs(5));
        let (arguments, announced) = arguments(&handle, ENDPOINTS);
        let mut state = SchedulerState::new(arguments, Box::new(|_| ())).unwrap();
        state.take_announced();
        state.serve_streams(ASKS_AT_ONCE, StreamQueue::pop_or_rest);
        state.work = (0, 0);
        Self { state, handle, _announced: announced, _current: current }
    }

    /// The most units of work between two checks for requests so far.
    fn longest(&mut self) -> usize {
        self.state.serve_streams(ASKS_AT_ONCE, StreamQueue::pop_or_rest);
        self.state.work.1
    }
}

fn batch(facts: u64) -> Batch {
    let fact = |n: u64| {
        let endpoint = endpoint((n % u64::from(ENDPOINTS)) as u16).id.key();
        let record = if n.is_multiple_of(2) {
            Record::Placement(Placement { endpoint, anchors: vec![murmuration::id::BlockHash(n)] })
        } else {
            Record::InFlight(InFlightReport::none(endpoint))
        };
        Fact { seq: n + 1, age: Duration::ZERO, record }
    };
    Batch {
        origin: murmuration::id::ReplicaId("peer".to_owned()),
        incarnation: murmuration::id::Incarnation(1),
        pool: murmuration::id::PoolId::default(),
        after: 0,
        upto: facts,
        facts: (0..facts).map(fact).collect(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_one_slice_of_other_work_at_most() {
    let mut scene = Scene::new();
    scene.state.receive(batch(1_024)).await;
    // The actor does this before each message.
    scene.state.serve_streams(ASKS_AT_ONCE, StreamQueue::pop_or_rest);
    let digest = scene.state.digest().await;
    scene.state.serve_streams(ASKS_AT_ONCE, StreamQueue::pop_or_rest);
    let summary = scene.state.summary().await;
    scene.state.serve_streams(ASKS_AT_ONCE, StreamQueue::pop_or_rest);
    let history = scene.state.history(65_536).await;
    assert_eq!(digest, scene.state.scheduler.digest(), "a digest in slices is the digest");
    assert_eq!(summary.endpoints.len(), usize::from(ENDPOINTS));
    assert_eq!(history.len(), 512, "each placement is in the history");
    let longest = scene.longest();
    assert!((1..=SLICE).contains(&longest), "{longest} units of work between two checks for requests");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_overtakes_the_announced_message_is_decided_with_the_announcement() {
    let (_current, handle) = SchedulerHandle::unstarted(Duration::from_secs(5));
    let (arguments, announced) = arguments(&handle, ENDPOINTS);
    let mut state = SchedulerState::new(arguments, Box::new(|_| ())).unwrap();
    announced.send_modify(|_| {});
    let (answer, _) = tokio::join!(handle.ask(InferenceRequest::default()), async {
        state.serve_streams(ASKS_AT_ONCE, StreamQueue::pop_or_rest)
    });
    assert!(answer.is_ok(), "the pool is announced, and this replica is ready: {answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_overtakes_the_slices_of_a_digest_that_was_asked_for_before_it() {
    let mut scene = Scene::new();
    let (handle, order) = (scene.handle.clone(), Arc::new(Mutex::new(Vec::new())));
    let asked = order.clone();
    let ask = async move {
        let answer = handle.ask(InferenceRequest::default()).await;
        asked.lock().unwrap().push("answer");
        answer
    };
    let digest = async {
        scene.state.digest().await;
        order.lock().unwrap().push("digest");
    };
    let (answer, ()) = tokio::join!(ask, digest);
    assert!(answer.is_ok());
    assert_eq!(*order.lock().unwrap(), ["answer", "digest"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_decided_before_a_thousand_reports_that_came_before_it() {
    let (current, handle) = SchedulerHandle::unstarted(Duration::from_secs(5));
    let (arguments, _announced) = arguments(&handle, ENDPOINTS);
    let (actor, _) = Actor::spawn(None, SchedulerActor, arguments).await.unwrap();
    current.send_replace(Some(actor.clone()));
    let reports: Vec<LatestValue<(Report, Timestamp)>> = (0..ENDPOINTS).map(|_| LatestValue::new()).collect();
    for (n, latest) in (0..).zip(&reports) {
        let notice = latest.put((Report::Unreachable, Timestamp::ZERO)).unwrap();
        handle.report(endpoint(n).id, notice);
    }
    let (digest, digested) = oneshot::channel();
    actor.cast(Message::Digest(RpcReplyPort::from(digest))).unwrap();
    assert!(handle.ask(InferenceRequest::default()).await.is_ok());
    let left = reports.iter().filter(|latest| latest.put((Report::Unreachable, Timestamp::ZERO)).is_none()).count();
    // The actor collects some reports before this task is polled with the answer.
    assert!(left > 800, "{left} reports still wait in the mailbox");
    digested.await.unwrap();
    actor.stop(None);
}

#[tokio::test]
async fn however_many_requests_wait_other_messages_get_their_turn() {
    let (current, handle) = SchedulerHandle::unstarted(Duration::from_secs(60));
    let (arguments, _announced) = arguments(&handle, 4);
    let (actor, _) = Actor::spawn(None, SchedulerActor, arguments).await.unwrap();
    current.send_replace(Some(actor.clone()));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let handle = handle.clone();
        clients.spawn(async move {
            for _ in 0..20 {
                let (reservation, _) = handle.ask(InferenceRequest::default()).await.unwrap();
                reservation.first_token();
                reservation.finish(Outcome::Completed, None);
            }
        });
    }
    let mut answered = 0;
    while clients.try_join_next().is_none() {
        let summary = handle.summary().await.unwrap();
        assert!(summary.tickets.open <= 2 * 64, "the ends of requests wait: {} are open", summary.tickets.open);
        answered += 1;
    }
    assert!(answered >= 10, "{answered} messages were answered beside 1,280 requests");
    actor.stop(None);
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_without_a_scheduler_are_decided_by_the_next_one_which_knows_the_pool() {
    let (current, handle) = SchedulerHandle::unstarted(Duration::from_secs(5));
    let (arguments, _announced) = arguments(&handle, 3);
    let waiting: Vec<_> = (0..200)
        .map(|_| {
            let handle = handle.clone();
            async move { handle.ask(InferenceRequest::default()).await }
        })
        .collect();
    let mut asks = tokio::task::JoinSet::new();
    waiting.into_iter().for_each(|ask| drop(asks.spawn(ask)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (actor, _) = Actor::spawn(None, SchedulerActor, arguments).await.unwrap();
    current.send_replace(Some(actor.clone()));
    actor.cast(Message::FromStreams).unwrap();
    let answers = asks.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 200);
    actor.stop(None);
}

#[tokio::test(start_paused = true)]
async fn the_age_of_a_report_includes_its_wait() {
    let mut scene = Scene::new();
    let latest = LatestValue::new();
    tokio::time::advance(Duration::from_secs(1)).await;
    let report = murmuration::fleet::LoadReport { awake: true, ..Default::default() };
    let age = Duration::from_millis(5);
    let notice = latest.put((Report::Load(Observation { report, age }), scene.state.clock.now())).unwrap();
    tokio::time::advance(Duration::from_millis(700)).await;
    scene.state.collect(endpoint(0).id, notice);
    let summary = scene.state.scheduler.summary(scene.state.clock.now());
    assert_eq!(summary.endpoints[0].age, Some(Duration::from_millis(705)));
}
