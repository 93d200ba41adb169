//! Keeps the lane up: when chitchat fails, or peers remember a higher incarnation of this name, the lane restarts as
//! the next incarnation, on the same socket.
//!
//! Must not know what is published. Until the restart the members are empty, so this replica decides as isolated and
//! reports it.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use murmuration::event::Event;
use murmuration::id::Incarnation;
use murmuration::replication::{ReplicaCard, SaltClaim};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::delivery::Delivery;
use super::joining::next_after;
use super::link::Link;
use super::rounds::{End, Rounds};
use super::server::{Plan, Server};
use super::settings::GossipError;
use super::transport::LinkTransport;
use super::{seeds, server};
use crate::clock::Clock;
use crate::replication::{Members, Publisher, Receiver};

/// Pause from a failure to the next start; doubles with each failure in a row.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// An incarnation that held this long was stable: the next pause is short again.
const SETTLED: Duration = Duration::from_secs(10);
/// Failures in a row after which the lane counts as failing, and not only as interrupted.
const FAILING: u32 = 3;

/// The health of the lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Starts in a row that did not hold; 0 while one holds.
    pub failures: u32,
}

/// The state that all incarnations of a lane share with its handle.
#[derive(Default)]
pub(super) struct Shared {
    server: Mutex<Option<Arc<Server>>>,
    /// Notified when a value arrives.
    pub(super) changed: Arc<Notify>,
    /// Set when everything is to be delivered again.
    pub(super) forget: Arc<AtomicBool>,
    #[cfg(test)]
    breaks: Mutex<Arc<AtomicBool>>,
}

/// What incarnations are built from.
pub(super) struct Incarnations {
    pub(super) plan: Plan,
    pub(super) link: Arc<Link>,
    pub(super) publishers: Vec<Publisher>,
    pub(super) receiver: Receiver,
    pub(super) card: watch::Receiver<ReplicaCard>,
    pub(super) salt: watch::Receiver<Option<SaltClaim>>,
    pub(super) salts: watch::Sender<Option<SaltClaim>>,
    pub(super) members: watch::Sender<Members>,
    pub(super) health: watch::Sender<Health>,
    pub(super) incarnation: watch::Sender<Incarnation>,
    pub(super) shared: Arc<Shared>,
}

/// One incarnation, ready to run. Dropping it ends it at once.
pub(super) struct Run {
    rounds: Rounds,
    _others: JoinSet<()>,
}

// === impl Health ===

impl Health {
    /// Whether it failed repeatedly.
    pub fn is_failing(self) -> bool {
        self.failures >= FAILING
    }
}

// === impl Shared ===

impl Shared {
    /// The running chitchat; `None` while there is none.
    pub(super) fn server(&self) -> Option<Arc<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_server(&self, server: Option<Arc<Server>>) {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
    }

    #[cfg(test)]
    pub(super) fn breaks(&self) {
        let breaks = self.breaks.lock().unwrap_or_else(PoisonError::into_inner);
        breaks.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("forget", &self.forget).finish_non_exhaustive()
    }
}

// === impl Incarnations ===

impl Incarnations {
    /// Starts chitchat as `incarnation`, which this replica publishes under from now on.
    ///
    /// # Errors
    /// See [`GossipError`].
    pub(super) async fn begin(&self, incarnation: Incarnation) -> Result<Run, GossipError> {
        if self.link.incarnation() != incarnation {
            self.link.begin(incarnation)?;
        }
        self.publishers.iter().for_each(|publisher| publisher.begin(incarnation));
        self.incarnation.send_replace(incarnation);
        let (plan, interval) = (&self.plan, self.plan.interval);
        let transport = LinkTransport::new(self.link.clone(), &plan.me.0, interval);
        #[cfg(test)]
        {
            *self.shared.breaks.lock().unwrap_or_else(PoisonError::into_inner) = transport.breaks.clone();
        }
        let card = serde_json::to_string(&*self.card.borrow()).unwrap_or_default();
        let changed = self.shared.changed.clone();
        let server =
            Arc::new(Server::start(server::config(plan, incarnation), card, transport, changed.clone()).await?);
        self.shared.set_server(Some(server.clone()));
        let (present, entries) = watch::channel(Vec::new());
        let mut others = JoinSet::new();
        others.spawn(seeds::ask(plan.seeds.clone(), plan.advertise, server.clone(), self.members.subscribe()));
        if let Some(found) = plan.found.clone() {
            others.spawn(seeds::follow(found, plan.advertise, server.clone()));
        }
        let (receiver, forget) = (self.receiver.clone(), self.shared.forget.clone());
        let delivery = Delivery { server: server.clone(), receiver, present: entries, changed, forget, interval };
        others.spawn(delivery.run());
        let rounds = Rounds {
            server,
            link: self.link.clone(),
            publishers: self.publishers.clone(),
            receiver: self.receiver.clone(),
            card: self.card.clone(),
            salt: self.salt.clone(),
            salts: self.salts.clone(),
            present,
            members: self.members.clone(),
            clock: Clock::start(),
            interval,
        };
        Ok(Run { rounds, _others: others })
    }

    /// Keeps the lane up until `leaving` is true.
    pub(super) async fn keep(self, mut run: Run, leaving: watch::Receiver<bool>) {
        let mut failures = 0u32;
        loop {
            let (began, leave) = (Instant::now(), leaving.clone());
            let Run { rounds, _others: others } = run;
            let settled = async {
                sleep(SETTLED).await;
                self.health.send_replace(Health::default());
                std::future::pending::<()>().await;
            };
            let end = tokio::select! {
                end = rounds.run(leave) => end,
                () = settled => return,
            };
            drop(others);
            self.shared.set_server(None);
            if began.elapsed() >= SETTLED {
                failures = 0;
            }
            run = loop {
                let why = match &end {
                    End::Left => return,
                    End::Failed(why) => why.clone(),
                    End::Superseded(floor) => format!("others remember incarnation {floor} of this name"),
                };
                failures = failures.saturating_add(1);
                self.health.send_replace(Health { failures });
                let now = self.link.incarnation();
                let floor = match end {
                    End::Superseded(floor) => self.link.superseded_by().max(Some(floor)),
                    End::Left | End::Failed(_) => self.link.superseded_by(),
                };
                let next = next_after(Incarnation(now.0.saturating_add(1)), floor);
                self.receiver.emit(&Event::GossipRestarted { was: now, now: next, why });
                if !pause(failures, leaving.clone()).await {
                    return;
                }
                match self.begin(next).await {
                    Ok(run) => break run,
                    Err(error) => tracing::error!(%error, "gossip could not start again"),
                }
            };
        }
    }
}

/// Waits before the next start; `false` when this replica leaves meanwhile.
async fn pause(failures: u32, mut leaving: watch::Receiver<bool>) -> bool {
    let doublings = failures.saturating_sub(1).min(16);
    let pause = PAUSE_MIN.saturating_mul(1 << doublings).min(PAUSE_MAX);
    tokio::select! {
        biased;
        _ = leaving.wait_for(|leaving| *leaving) => false,
        () = sleep(pause) => true,
    }
}
