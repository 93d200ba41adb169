//! One watch of the API server, for ever: lists, follows, and starts again after each failure.
//!
//! Must not know what the objects mean. `kube::runtime` lists in pages, follows bookmarks and lists anew when its place
//! has expired; this says when it tries again, and reports each kind of failure once in an outage.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use kube::Api;
use kube::runtime::watcher::{self, Config, watcher};
use murmuration::event::Event;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until};

use super::failure::{Failure, Kind};
use super::outage::Outage;
use crate::telemetry::Telemetry;

/// How long one call of a watch lasts. It ends a connection that broke without a sign, so an outage shows within this
/// time and five seconds.
const CALL: u32 = 60;
/// How long a watch must hold after an outage, until the outage is over: a list may work where a watch does not.
const SETTLED: Duration = Duration::from_secs(1);
/// Two watches that expire within this time are followed by a pause.
const EXPIRED_TWICE: Duration = Duration::from_secs(5);
/// The pause after an answer that a kind of object does not exist, where that is no failure.
const ABSENT_PAUSE: Duration = Duration::from_secs(10);

/// How many answers in a row, each after [`ABSENT_PAUSE`], say that a kind was uninstalled: an API server that starts
/// may say so of kinds that it has.
const ABSENT_ANSWERS: u32 = 3;

/// Which objects are watched.
#[derive(Clone, Debug)]
pub(super) struct Watched<K> {
    pub(super) api: Api<K>,
    pub(super) config: Config,
    /// Their kind, as metrics and log lines name it.
    pub(super) resource: &'static str,
    /// Whether a cluster may lack this kind.
    pub(super) optional: bool,
}

/// A watch.
pub(super) struct Watch<K> {
    watched: Watched<K>,
    telemetry: Telemetry,
    events: BoxStream<'static, watcher::Result<Step<K>>>,
    outage: Outage,
    resumes: Instant,
    /// Objects of the list that is under way.
    listed: usize,
    /// How many answers in a row said that the cluster lacks this kind.
    absent: u32,
    established: bool,
    /// When an outage is over, unless it fails again before.
    settles: Option<Instant>,
    expired: Option<Instant>,
    /// What was told of the outage: each kind of failure once.
    told: BTreeSet<Kind>,
    last: Option<Kind>,
}

/// What a watch shows.
#[derive(Debug)]
pub(super) enum Seen<K> {
    /// A step.
    Step(Step<K>),
    /// It failed, and tries again. `answered`: the API server has said that the cluster lacks this kind of objects, or,
    /// more than once, that they may not be read. `uninstalled`: it has said for a while that the cluster lacks it.
    Failing { answered: bool, uninstalled: bool },
}

/// A step, with the whole object where there is one.
pub(super) type Step<K> = watcher::Event<K>;

// === impl Watch ===

impl<K> Watch<K>
where
    K: kube::Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    /// A watch that begins with a list. `who` tells replicas apart, so that they do not all ask at the same moment.
    pub(super) fn new(watched: Watched<K>, who: &str, telemetry: Telemetry) -> Self {
        let watched = Watched { config: watched.config.timeout(CALL), ..watched };
        let outage = Outage::new(&format!("{who} {}", watched.resource));
        let (events, resumes) = (stream(&watched), Instant::now());
        Self {
            watched,
            telemetry,
            events,
            outage,
            resumes,
            listed: 0,
            absent: 0,
            established: false,
            settles: None,
            expired: None,
            told: BTreeSet::new(),
            last: None,
        }
    }

    /// The next step. It can be dropped before it is complete.
    pub(super) async fn next(&mut self) -> Seen<K> {
        sleep_until(self.resumes).await;
        let next = loop {
            let settles = self.settles;
            tokio::select! {
                biased;
                next = self.events.next() => break next,
                () = sleep_until(settles.unwrap_or_else(Instant::now)), if settles.is_some() => self.settled(),
            }
        };
        match next {
            Some(Ok(step)) => {
                self.progressed(&step);
                Seen::Step(step)
            }
            Some(Err(error)) => {
                let answered = self.failed(&error);
                Seen::Failing { answered, uninstalled: self.absent >= ABSENT_ANSWERS }
            }
            // The stream of `kube::runtime` does not end.
            None => {
                self.again(ABSENT_PAUSE, true);
                Seen::Failing { answered: false, uninstalled: false }
            }
        }
    }

    fn progressed(&mut self, step: &Step<K>) {
        match step {
            Step::Init => self.listed = 0,
            Step::InitApply(_) => self.listed += 1,
            Step::InitDone if self.outage.is_on() => self.settles = Some(Instant::now() + SETTLED),
            Step::InitDone => {
                let first = !self.established || self.absent > 0;
                (self.absent, self.established) = (0, true);
                if first {
                    self.tell_established(None);
                }
            }
            Step::Apply(_) | Step::Delete(_) => {}
        }
    }

    /// The watch holds again.
    fn settled(&mut self) {
        (self.settles, self.absent, self.established) = (None, 0, true);
        let outage = self.outage_is_over();
        self.tell_established(outage);
    }

    fn outage_is_over(&mut self) -> Option<Duration> {
        self.told.clear();
        self.outage.over(Instant::now())
    }

    fn tell_established(&self, outage: Option<Duration>) {
        let (resource, objects) = (self.watched.resource, self.listed);
        self.telemetry.record(&Event::WatchEstablished { resource, objects, outage });
    }

    /// Returns whether it is an answer about this kind of objects.
    fn failed(&mut self, error: &watcher::Error) -> bool {
        let resource = self.watched.resource;
        self.settles = None;
        let failure = Failure::of(error, resource);
        if failure.kind == Kind::Absent && self.watched.optional {
            let is_new = self.absent == 0;
            self.absent = self.absent.saturating_add(1);
            // The API server answers, so an outage is over.
            if self.outage_is_over().is_some() || is_new {
                self.telemetry.record(&Event::WatchAbsent { resource });
            }
            self.again(ABSENT_PAUSE, true);
            return true;
        }
        self.absent = self.absent.min(1);
        self.telemetry.record(&Event::WatchFailed { resource, reason: failure.kind.as_str() });
        if failure.kind == Kind::Expired {
            // Also where the API server says so before the watch begins, which `kube::runtime` would ask again.
            let again = self.expired.replace(Instant::now()).is_some_and(|last| last.elapsed() < EXPIRED_TWICE);
            self.again(if again { EXPIRED_TWICE } else { Duration::ZERO }, true);
            return false;
        }
        let is_refusal = failure.is_refusal();
        let step = self.outage.failed(Instant::now(), is_refusal);
        // An API server that starts refuses what it will allow, so one failure of a kind says little.
        let repeated =
            self.last.replace(failure.kind) == Some(failure.kind) || self.told.is_empty() && step.failures > 2;
        if step.outage && repeated && self.told.insert(failure.kind) {
            self.telemetry.record(&Event::WatchInterrupted { resource, why: failure.why });
        }
        self.again(step.pause, step.outage);
        step.outage && is_refusal
    }

    fn again(&mut self, pause: Duration, relist: bool) {
        self.resumes = Instant::now() + pause;
        if relist {
            self.events = stream(&self.watched);
        }
    }
}

fn stream<K>(watched: &Watched<K>) -> BoxStream<'static, watcher::Result<Step<K>>>
where
    K: kube::Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    watcher(watched.api.clone(), watched.config.clone()).boxed()
}
