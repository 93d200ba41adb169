//! The handle of a replica's gossip lane, over all its incarnations.
//!
//! Must not know what the lane's tasks do in detail, or when they restart ([`super::incarnations`] does).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use murmuration::id::Incarnation;
use murmuration::replication::codec::NAME_BYTES_MAX;
use murmuration::replication::{ReplicaCard, SaltClaim};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::envelope::Envelope;
use super::incarnations::{Health, Incarnations, Shared};
use super::keyring::Keyring;
use super::link::Link;
use super::server::Plan;
use super::settings::{GossipError, GossipSettings, Seal};
use super::{VALUE_BYTES_MAX, joining, rotation};
use crate::replication::{Members, Publisher, Receiver};

/// How long leaving may take.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// The gossip lane. Dropping it ends it at once, as if killed.
#[derive(Debug)]
pub struct Gossip {
    members: watch::Receiver<Members>,
    health: watch::Receiver<Health>,
    incarnation: watch::Receiver<Incarnation>,
    card: watch::Sender<ReplicaCard>,
    salt: watch::Sender<Option<SaltClaim>>,
    salts: watch::Receiver<Option<SaltClaim>>,
    leaving: watch::Sender<bool>,
    shared: Arc<Shared>,
    address: SocketAddr,
    lane: JoinSet<()>,
    others: JoinSet<()>,
}

// === impl Gossip ===

impl Gossip {
    /// Starts to gossip what `publishers` publish, one for each pool, and to hand what peers publish to `receiver`.
    /// Where peers remember a higher incarnation of this replica's name, the lane and the publishers take the next one
    /// before anything is published. Needs a tokio runtime.
    ///
    /// # Errors
    /// See [`GossipError`].
    pub async fn start(
        settings: GossipSettings,
        publishers: Vec<Publisher>,
        receiver: Receiver,
    ) -> Result<Self, GossipError> {
        checked(&settings)?;
        let mut others = JoinSet::new();
        let envelope = sealed(&settings, &receiver, &mut others).await?;
        let address = settings.socket.local_addr().map_err(|error| GossipError::Socket(error.to_string()))?;
        let me = (settings.me.clone(), settings.incarnation);
        let protection = (envelope, settings.accept_version_one);
        let socket = (settings.socket, settings.advertise);
        let link = Arc::new(Link::new(me, socket, protection, settings.interval, receiver.clone())?);
        let GossipSettings { me, advertise, seeds, found, tier, interval, .. } = settings;
        let first = joining::agreed(&link, (&seeds, found.clone()), advertise).await;

        let (card, card_changes) = watch::channel(settings.card);
        let ((salt, salt_changes), (salts_changes, salts)) = (watch::channel(None), watch::channel(None));
        let (member_changes, members) = watch::channel(Members::new());
        let (leaving, leave) = watch::channel(false);
        let (health_changes, health) = watch::channel(Health::default());
        let (incarnation_changes, incarnation) = watch::channel(first);
        let shared = Arc::new(Shared::default());
        let incarnations = Incarnations {
            plan: Plan { me, advertise, seeds, found, tier, interval },
            link,
            publishers,
            receiver,
            card: card_changes,
            salt: salt_changes,
            salts: salts_changes,
            members: member_changes,
            health: health_changes,
            incarnation: incarnation_changes,
            shared: shared.clone(),
        };
        let run = incarnations.begin(first).await?;
        let mut lane = JoinSet::new();
        lane.spawn(incarnations.keep(run, leave));
        Ok(Self { members, health, incarnation, card, salt, salts, leaving, shared, address, lane, others })
    }

    /// The other living replicas, ordered by name, and changes of them. Empty while the lane is down.
    pub fn members(&self) -> watch::Receiver<Members> {
        self.members.clone()
    }

    /// The health of the lane, and changes of it.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// The current incarnation of this replica: a lane that failed restarts as the next one.
    pub fn incarnation(&self) -> watch::Receiver<Incarnation> {
        self.incarnation.clone()
    }

    /// Where the socket is bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What this replica publishes about itself.
    pub fn card(&self) -> ReplicaCard {
        self.card.borrow().clone()
    }

    /// Changes what this replica publishes about itself, from the next round on.
    pub fn update_card(&self, change: impl FnOnce(&mut ReplicaCard)) {
        self.card.send_modify(change);
    }

    /// The sender for the salt that this replica hashes prompts with, published to peers; and the oldest salt of the
    /// other living replicas, with its changes.
    pub fn salts(&self) -> (watch::Sender<Option<SaltClaim>>, watch::Receiver<Option<SaltClaim>>) {
        (self.salt.clone(), self.salts.clone())
    }

    /// Bytes of each value that this replica publishes, by key; none while the lane is down.
    pub fn sizes(&self) -> impl Future<Output = BTreeMap<String, usize>> + Send + use<> {
        let server = self.shared.server();
        async move {
            let Some(server) = server else { return BTreeMap::new() };
            let mut chitchat = server.chitchat().await;
            let values = chitchat.self_node_state().key_values();
            values.map(|(key, value)| (key.to_owned(), value.len())).collect()
        }
    }

    /// Delivers all pages again, to a restarted scheduler that lost them.
    pub fn resync(&self) {
        self.resyncing()();
    }

    /// [`Gossip::resync`] as a function, for callers that do not hold the lane.
    pub fn resyncing(&self) -> impl Fn() + Clone + Send + use<> {
        let shared = self.shared.clone();
        move || {
            shared.forget.store(true, Ordering::Release);
            shared.changed.notify_one();
        }
    }

    /// Waits until the task that keeps the lane up ends by itself, which only a bug causes.
    pub async fn ended(&mut self) {
        self.lane.join_next().await;
    }

    /// Announces that this replica leaves, and ends. What was published before is sent first.
    pub async fn leave(mut self) {
        self.update_card(|card| card.draining = true);
        self.leaving.send_replace(true);
        // After the timeout it ends without an announcement.
        let _ = timeout(LEAVE_TIMEOUT, self.lane.join_next()).await;
        self.others.shutdown().await;
    }

    /// Makes chitchat's task panic with the next datagram that comes.
    #[cfg(test)]
    pub(super) fn breaks(&self) {
        self.shared.breaks();
    }
}

/// Checks that all settings can be used.
fn checked(settings: &GossipSettings) -> Result<(), GossipError> {
    if !(1..=NAME_BYTES_MAX).contains(&settings.me.0.len()) {
        return Err(GossipError::Name(settings.me.0.len()));
    }
    if settings.interval.is_zero() {
        return Err(GossipError::Interval);
    }
    let card = serde_json::to_string(&settings.card).unwrap_or_default();
    if card.len() > VALUE_BYTES_MAX { Err(GossipError::Card(card.len())) } else { Ok(()) }
}

/// Builds the envelope, and follows its keys if there are any.
async fn sealed(
    settings: &GossipSettings,
    receiver: &Receiver,
    tasks: &mut JoinSet<()>,
) -> Result<Arc<Envelope>, GossipError> {
    let Seal::KeyFile(path) = &settings.seal else { return Ok(Arc::new(Envelope::new(&settings.tier, None))) };
    let text = rotation::read(path).await?;
    let envelope = Arc::new(Envelope::new(&settings.tier, Some(Keyring::parse(&text)?)));
    tasks.spawn(rotation::follow(path.clone(), text, envelope.clone(), receiver.clone()));
    Ok(envelope)
}
