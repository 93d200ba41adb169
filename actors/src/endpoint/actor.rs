//! The actor: scrape, read, report, then wait for the next due time. It waits only when done, so a slow engine never
//! has two scrapes at once.
//!
//! Must not know how a report is used.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use murmuration::dialect::engine::EngineSpec;
use murmuration::dialect::metrics_page::read_page;
use murmuration::event::Event;
use murmuration::fleet::Observation;
use murmuration::id::EndpointId;
use murmuration::time::Timestamp;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::scrape::{ScrapeError, Scraper};
use super::scrape_schedule::ScrapeSchedule;
use crate::clock::Clock;
use crate::environment::Network;
use crate::latest_value::LatestValue;
use crate::replication::Keeping;
use crate::scheduler::{Report, SchedulerHandle};
use crate::telemetry::Telemetry;

/// The longest pause between two scrapes of an engine that fails.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// The shortest deadline of a scrape.
const SCRAPE_DEADLINE: Duration = Duration::from_secs(1);
/// The longest deadline of a scrape: an engine that is scraped rarely may answer more slowly.
const SCRAPE_DEADLINE_MAX: Duration = Duration::from_secs(5);

/// Failures in a row after which pauses grow. A dead engine must be noticed quickly, because requests are sent to it
/// until then.
const PROMPT_FAILURES: u32 = 3;
/// How soon an endpoint that another replica kept is first scraped. The scrapes of a dead keeper spread over this time.
const TAKEOVER_MAX: Duration = Duration::from_millis(100);

/// The actor.
#[derive(Debug)]
pub struct EndpointActor;

/// The arguments of an endpoint actor.
#[derive(Clone, Debug)]
pub struct EndpointArguments {
    /// The watched endpoint.
    pub endpoint: EndpointId,
    /// Chooses the slot in which it is scraped; from its own name and its pool's.
    pub slot_key: u64,
    /// The address of the metrics page.
    pub metrics: SocketAddr,
    /// The page's path.
    pub path: String,
    /// From the start of one scrape to the start of the next.
    pub interval: Duration,
    /// The engine's metric names.
    pub spec: EngineSpec,
    /// Receives reports.
    pub scheduler: SchedulerHandle,
    /// Records events.
    pub telemetry: Telemetry,
    /// The endpoint's zone; empty where it has none.
    pub zone: String,
    /// The replica's clock. All endpoint actors have the same one, so that those of a slot wake together.
    pub clock: Clock,
    /// The network that carries scrapes.
    pub network: Arc<dyn Network>,
    /// Which endpoints this replica watches; `None` where every replica watches all.
    pub keeping: Option<Keeping>,
}

/// A message.
#[derive(Debug)]
pub enum EndpointMessage {
    // ---------- from itself ----------
    /// It is time to scrape.
    Due,

    // ---------- from the pool ----------
    /// This replica may have to watch the endpoint from now on.
    Wake,
    /// The scheduler restarted and knows nothing: the last report is sent again, with its age.
    Again,
}

/// The state.
#[derive(Debug)]
pub struct Watch {
    arguments: EndpointArguments,
    scraper: Scraper,
    latest: LatestValue<(Report, Timestamp)>,
    /// The last report, and when it was made.
    last: Option<(Report, Timestamp)>,
    scrape_schedule: ScrapeSchedule,
    failures: u32,
    /// Whether a `Due` is scheduled. An endpoint that another replica watches has none, and costs nothing.
    armed: bool,
}

impl Actor for EndpointActor {
    type Msg = EndpointMessage;
    type State = Watch;
    type Arguments = EndpointArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<EndpointMessage>,
        arguments: EndpointArguments,
    ) -> Result<Watch, ActorProcessingErr> {
        let (network, path) = (arguments.network.clone(), arguments.path.clone());
        let scraper = Scraper::new(network, arguments.metrics, path, deadline(arguments.interval));
        let scrape_schedule = ScrapeSchedule::new(arguments.interval, arguments.slot_key);
        let now = arguments.clock.now();
        let first = ScrapeSchedule::first(arguments.interval, arguments.slot_key, now);
        myself.send_after(first, || EndpointMessage::Due);
        let latest = LatestValue::new();
        Ok(Watch { arguments, scraper, latest, last: None, scrape_schedule, failures: 0, armed: true })
    }

    async fn handle(
        &self,
        myself: ActorRef<EndpointMessage>,
        message: EndpointMessage,
        watch: &mut Watch,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            EndpointMessage::Again => watch.report_again(),
            EndpointMessage::Wake if watch.armed || !watch.is_mine() => {}
            EndpointMessage::Wake => {
                let now = watch.arguments.clock.now();
                watch.armed = true;
                myself.send_after(watch.scrape_schedule.pause(now, now).min(TAKEOVER_MAX), || EndpointMessage::Due);
            }
            // `Wake` comes when that changes.
            EndpointMessage::Due if !watch.is_mine() => watch.armed = false,
            EndpointMessage::Due => {
                let started = watch.arguments.clock.now();
                watch.scrape().await;
                myself.send_after(watch.pause(started), || EndpointMessage::Due);
            }
        }
        Ok(())
    }
}

// === impl Watch ===

impl Watch {
    fn is_mine(&self) -> bool {
        let Some(keeping) = &self.arguments.keeping else { return true };
        keeping.must_watch(self.arguments.endpoint.key(), &self.arguments.zone, self.arguments.interval)
    }

    async fn scrape(&mut self) {
        match self.scraper.scrape().await {
            Ok(page) => {
                let report = read_page(&page.text, &self.arguments.spec);
                let (took, bytes) = (page.took, page.text.len());
                page.give_back();
                match report {
                    Ok(report) => {
                        self.failures = 0;
                        let endpoint = self.arguments.endpoint.clone();
                        self.arguments.telemetry.record(&Event::Scraped { endpoint, took, bytes });
                        self.post(Report::Load(Observation { report, age: took }));
                    }
                    Err(error) => self.failed(error.kind(), error.to_string()),
                }
            }
            Err(error) => {
                self.failed(error.kind(), error.to_string());
                if matches!(error, ScrapeError::Connect { .. }) {
                    self.post(Report::Unreachable);
                }
            }
        }
    }

    /// A failed scrape does not change the believed load: the last report stays, and ages.
    fn failed(&mut self, kind: &'static str, why: String) {
        self.failures = self.failures.saturating_add(1);
        let endpoint = self.arguments.endpoint.clone();
        self.arguments.telemetry.record(&Event::ScrapeFailed { endpoint, kind, why });
    }

    fn post(&mut self, report: Report) {
        self.last = Some((report, self.arguments.clock.now()));
        self.report_again();
    }

    fn report_again(&self) {
        let Some(last) = self.last.clone() else { return };
        if let Some(notice) = self.latest.put(last) {
            self.arguments.scheduler.report(self.arguments.endpoint.clone(), notice);
        }
    }

    /// From now to the next scrape, at the next due time. After failures, at the first due time after a pause. That
    /// pause is the interval, doubled with each failure in a row after the first few, up to a second.
    fn pause(&self, started: Timestamp) -> Duration {
        let interval = self.arguments.interval;
        let doublings = self.failures.saturating_sub(PROMPT_FAILURES).min(10);
        let pause = interval.saturating_mul(1 << doublings).min(PAUSE_MAX.max(interval));
        self.scrape_schedule.pause(self.arguments.clock.now(), started + pause.saturating_sub(interval))
    }
}

/// The deadline of a scrape where one is due each `interval`: a third of it, so that scrapes never pile up.
fn deadline(interval: Duration) -> Duration {
    (interval / 3).clamp(SCRAPE_DEADLINE, SCRAPE_DEADLINE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_is_scraped_rarely_may_answer_slowly() {
        let of = |millis| deadline(Duration::from_millis(millis)).as_millis();
        assert_eq!([of(50), of(3_000), of(9_000), of(15_000), of(3_600_000)], [1_000, 1_000, 3_000, 5_000, 5_000]);
    }
}
