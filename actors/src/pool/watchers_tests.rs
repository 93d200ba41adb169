//! Which endpoints are watched and which watchers are woken, in virtual time.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io;

use async_trait::async_trait;
use murmuration::config;
use murmuration::id::{PoolId, ReplicaId};
use murmuration::plugin::Catalog;
use murmuration::replication::{Keeper, Keepers};
use tokio::time::sleep;

use super::*;
use crate::environment::{Announcement, Connection, Datagrams};
use crate::telemetry::span::Tracer;

const POOL: u16 = 6;

/// Refuses every connection and records the ports.
#[derive(Debug, Default)]
struct RefusingNetwork(Mutex<BTreeSet<u16>>);

#[async_trait]
impl Network for RefusingNetwork {
    async fn connect(&self, to: SocketAddr) -> io::Result<Connection> {
        self.0.lock().unwrap().insert(to.port());
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    async fn bind(&self, _: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

struct Scene {
    keeping: Keeping,
    network: Arc<RefusingNetwork>,
    supervisor: Supervisor,
    announced: watch::Sender<Option<Arc<Announcement>>>,
}

/// The other keeper is in the zone of all endpoints, and ranks first there.
const WITH_OTHER: [(&str, &str); 2] = [("somebody", "z"), ("me", "")];
const ONLY_ME: [(&str, &str); 1] = [("me", "z")];

fn keepers(names: &[(&str, &str)]) -> Keepers {
    let keeper = |(name, zone): &(&str, &str)| Keeper { replica: ReplicaId((*name).into()), zone: (*zone).into() };
    Keepers::new(names.iter().map(keeper).collect())
}

fn endpoint(n: u16) -> Endpoint {
    let id = EndpointId::new("default", &format!("e{n}"));
    Endpoint {
        id,
        address: ([127, 0, 0, 1], 8000 + n).into(),
        labels: [(ZONE_LABEL.to_owned(), "z".to_owned())].into(),
    }
}

fn all() -> BTreeSet<u16> {
    (0..POOL).map(|n| 8000 + n).collect()
}

impl Scene {
    /// A pool with the keepers `names`. This replica is `me`.
    fn new(names: &[(&str, &str)]) -> Self {
        let blueprint = config::read(config::default_text(), "the default configuration", &Catalog::builtin()).unwrap();
        let telemetry = Telemetry::new("pool", Tracer::default()).unwrap();
        let (clock, readiness) = (Clock::start(), Arc::new(watch::channel(Readiness::default()).0));
        let supervisor = Supervisor::new(clock, telemetry.clone(), readiness.clone());
        let (keeping, network) = (Keeping::new(ReplicaId("me".into())), Arc::new(RefusingNetwork::default()));
        keeping.set_keepers(keepers(names));
        let (announced, known) = watch::channel(None);
        let arguments = PoolArguments {
            pool: PoolId::default(),
            announced: known,
            scheduler: SchedulerHandle::unstarted(Duration::from_secs(1)).1,
            supervisor: supervisor.clone(),
            readiness,
            telemetry,
            clock,
            keeping: Some(keeping.clone()),
            scrape: blueprint.scrape,
            engines: blueprint.engines,
            network: network.clone(),
            interval: Duration::from_millis(50),
        };
        supervisor.vital("pool", move || run(arguments.clone()));
        Self { keeping, network, supervisor, announced }
    }

    fn announce(&self, endpoints: impl Iterator<Item = u16>) {
        let endpoints = endpoints.map(endpoint).collect();
        self.announced.send_replace(Some(Arc::new(Announcement { endpoints, ..Announcement::default() })));
    }

    /// The ports that are called within this time.
    async fn called(&self, within: Duration) -> BTreeSet<u16> {
        self.network.0.lock().unwrap().clear();
        sleep(within).await;
        std::mem::take(&mut self.network.0.lock().unwrap())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.supervisor.stop_all();
    }
}

fn alive() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_others_keep_costs_no_timer_and_is_scraped_as_soon_as_they_are_gone() {
    let scene = Scene::new(&WITH_OTHER);
    scene.announce(0..POOL);
    assert!(scene.called(Duration::from_secs(60)).await.is_empty());
    // The pool and its supervisor task. For each watcher: its supervisor task, its run, the actor and its observer. No
    // timers.
    let at_rest = alive();
    assert_eq!(at_rest, 2 + 4 * usize::from(POOL));
    scene.keeping.set_keepers(keepers(&ONLY_ME));
    assert_eq!(scene.called(Duration::from_millis(150)).await, all());
    scene.keeping.set_keepers(keepers(&WITH_OTHER));
    sleep(Duration::from_secs(2)).await;
    assert!(scene.called(Duration::from_secs(60)).await.is_empty());
    assert_eq!(alive(), at_rest);
}

#[tokio::test(start_paused = true)]
async fn a_silent_endpoint_wakes_its_successor_and_no_other_endpoint() {
    let scene = Scene::new(&[("somebody", "z"), ("me", "z")]);
    scene.announce(0..POOL);
    sleep(Duration::from_secs(1)).await;
    let mine = scene.called(Duration::from_secs(1)).await;
    assert!(!mine.is_empty() && mine != all(), "some are kept here: {mine:?}");
    let silent = all().difference(&mine).next().copied().unwrap();
    let key = endpoint(silent - 8000).id.key();
    scene.keeping.set_silent([(key, Duration::from_millis(1_100))].into());
    let called = scene.called(Duration::from_millis(200)).await;
    assert_eq!(called.difference(&mine).copied().collect::<Vec<_>>(), [silent]);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_withdrawn_or_changed_has_no_watcher_or_one() {
    let scene = Scene::new(&ONLY_ME);
    scene.announce(0..POOL);
    assert_eq!(scene.called(Duration::from_secs(2)).await, all());
    scene.supervisor.kill("pool");
    scene.announce(1..POOL);
    sleep(Duration::from_secs(1)).await;
    let left: BTreeSet<u16> = (1..POOL).map(|n| 8000 + n).collect();
    assert_eq!(scene.called(Duration::from_secs(2)).await, left);
    assert_eq!(scene.supervisor.names().len(), 1 + left.len());
}
