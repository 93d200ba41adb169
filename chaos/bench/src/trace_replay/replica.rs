//! One replica: the real scheduler, the real fact log and the real gossip pages, and nothing else.
//!
//! Must not know lanes, engines or what happens next.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use murmuration::config::blueprint::PrefixSettings;
use murmuration::fleet::endpoint::ROLE_LABEL;
use murmuration::fleet::{Endpoint, EndpointChange};
use murmuration::id::{EndpointId, Incarnation, ReplicaId, Ticket};
use murmuration::replication::{Batch, FactLog, Keeper, Keepers, Page, Pages};
use murmuration::request::{Asked, InferenceRequest};
use murmuration::schedule::{Decision, Leg, Stage};
use murmuration::scheduler::{Input, Outbox, Scheduler};
use murmuration::time::Timestamp;

use super::legs::Route;
use super::plan::{Plan, Sharing, Zones};
use crate::pool;

/// The first engine's port; the others follow.
const FIRST_PORT: u16 = 10_000;

/// One replica.
#[derive(Debug)]
pub struct Replica {
    scheduler: Scheduler,
    fact_log: FactLog,
    /// The number of the last fact that is urgent.
    urgent: u64,
    pages: Pages,
    sharing: Sharing,
    prefix: PrefixSettings,
}

/// The engine number `n` as discovery announces it.
fn endpoint(n: usize, role: Option<&str>) -> Endpoint {
    // Never more than a few thousand engines, so the cast keeps its value.
    let address: SocketAddr = ([127, 0, 0, 1], FIRST_PORT + n as u16).into();
    let labels = role.map(|role| (ROLE_LABEL.to_owned(), role.to_owned())).into_iter().collect();
    Endpoint { id: endpoint_id(n), address, labels }
}

/// The engines of a decision.
fn route(decision: &Decision) -> Option<Route> {
    let first = |leg: &Leg| leg.addresses().next().map(engine_at);
    let prefill = decision.leg(Stage::Prefill).and_then(first);
    Some(Route { decode: engine_at(decision.primary()?.address), prefill })
}

/// The name of the engine number `n`.
pub fn endpoint_id(n: usize) -> EndpointId {
    EndpointId::new("default", &format!("engine-{n:03}"))
}

/// The number of the engine at `address`.
pub fn engine_at(address: SocketAddr) -> usize {
    usize::from(address.port() - FIRST_PORT)
}

/// For each engine, the replica that keeps it.
pub fn keepers(replicas: usize, engines: usize, zones: Zones) -> Vec<usize> {
    let zone = |n: usize| if zones.count > 1 { zones.of(n).to_string() } else { String::new() };
    let live = (0..replicas).map(|n| Keeper { replica: name(n), zone: zone(n) }).collect();
    let keepers = Keepers::new(live);
    let keeps =
        |replica: usize, engine: usize| keepers.rank(&name(replica), endpoint_id(engine).key(), &zone(engine)) == 0;
    (0..engines).map(|engine| (0..replicas).find(|&replica| keeps(replica, engine)).unwrap_or(0)).collect()
}

/// The name of the replica number `n`.
pub fn name(n: usize) -> ReplicaId {
    ReplicaId(format!("replica-{n}"))
}

// === impl Replica ===

impl Replica {
    /// The replica number `n`, which has discovered all engines.
    ///
    /// # Errors
    /// All errors of the configuration.
    pub fn new(n: usize, plan: &Plan) -> Result<Self, String> {
        let shares = (plan.replicas > 1 || plan.sharing() == Sharing::Cut) && plan.sharing().tries();
        let (scheduler, prefix) = pool::scheduler_that(shares, &plan.config, pool::INDEX_BYTES_MAX)?;
        let mut replica = Self {
            scheduler,
            fact_log: FactLog::new(name(n), Incarnation(1)),
            urgent: 0,
            pages: Pages::default(),
            sharing: plan.sharing(),
            prefix,
        };
        let found = (0..plan.engines).map(|n| EndpointChange::Upsert(endpoint(n, plan.role_of(n)))).collect();
        replica.handle(Input::Discovered(found), Timestamp::ZERO);
        Ok(replica)
    }

    /// How prompts are split into blocks.
    pub fn prefix(&self) -> &PrefixSettings {
        &self.prefix
    }

    /// Gives the scheduler an input, and publishes the records that it shares.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Outbox {
        let mut out = Outbox::default();
        self.scheduler.handle(input, now, &mut out);
        for (record, at) in out.publish.drain(..) {
            if let Some(record) = self.sharing.tells(record) {
                let urgent = record.is_urgent();
                self.fact_log.publish(record, at);
                if urgent {
                    self.urgent = self.fact_log.head();
                }
            }
        }
        out
    }

    /// Where the scheduler sends a request; `None` if it refuses.
    pub fn dispatch(
        &mut self,
        number: usize,
        request: InferenceRequest,
        waited: Duration,
        now: Timestamp,
    ) -> Option<Route> {
        let asked = Asked { ticket: Ticket(number as u64), request: Box::new(request), waited };
        let out = self.handle(Input::Asked(asked), now);
        let (_, answer) = out.answers.into_iter().next()?;
        answer.ok().and_then(|decision| route(&decision))
    }

    /// Where the scheduler would send a request; nothing changes.
    pub fn opinion(&mut self, request: &InferenceRequest, now: Timestamp) -> Option<Route> {
        self.scheduler.decide(request, now).ok().as_ref().and_then(route)
    }

    /// How long the scheduler keeps a request back before its decision.
    pub fn wait(&self, request: &InferenceRequest, now: Timestamp) -> Duration {
        self.scheduler.wait_in_crowd(request, now)
    }

    /// The number of its newest fact.
    pub fn head(&self) -> u64 {
        self.fact_log.head()
    }

    /// The number of its last urgent fact.
    pub fn urgent(&self) -> u64 {
        self.urgent
    }

    /// The facts after the number `after`.
    pub fn since(&self, after: u64, now: Timestamp) -> Option<Arc<Batch>> {
        self.fact_log.since(after, usize::MAX, now).map(Arc::new)
    }

    /// The gossip pages that changed.
    pub fn write_pages(&mut self, now: Timestamp) -> Vec<Page> {
        self.pages.write(&self.fact_log, now)
    }
}
