//! The gossip lane of one replica: its tasks, and what others hold of it.
//!
//! Must not know what the tasks do in detail.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use murmuration::share::ReplicaCard;
use murmuration::share::codec::NAME_BYTES_MAX;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::delivery::Delivery;
use super::envelope::Envelope;
use super::keyring::Keyring;
use super::rounds::Rounds;
use super::server::Server;
use super::settings::{GossipError, GossipSettings, Seal};
use super::transport::SealedTransport;
use super::{VALUE_BYTES_MAX, rotation, seeds, server};
use crate::clock::Clock;
use crate::flock::{Ear, Roster, Voice};

/// How long leaving may take.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// The gossip lane. Dropped, it is gone at once, as if killed.
#[derive(Debug)]
pub struct Gossip {
    roster: watch::Receiver<Roster>,
    card: watch::Sender<ReplicaCard>,
    leaving: watch::Sender<bool>,
    changed: Arc<Notify>,
    forget: Arc<AtomicBool>,
    address: SocketAddr,
    server: Arc<Server>,
    rounds: JoinSet<()>,
    others: JoinSet<()>,
}

// === impl Gossip ===

impl Gossip {
    /// Starts gossiping what `voice` says, and handing to `ear` what others say. Needs a tokio runtime.
    ///
    /// # Errors
    /// See [`GossipError`].
    pub async fn start(settings: GossipSettings, voice: Voice, ear: Ear) -> Result<Self, GossipError> {
        let card_text = checked(&settings)?;
        let mut others = JoinSet::new();
        let envelope = sealed(&settings, &ear, &mut others).await?;
        let address = settings.socket.local_addr().map_err(|error| GossipError::Socket(error.to_string()))?;
        let (config, interval) = (server::config(&settings), settings.interval);
        let transport = SealedTransport::new(settings.socket, envelope, interval, ear.clone());
        let changed = Arc::new(Notify::new());
        let server = Arc::new(Server::start(config, card_text, transport, changed.clone()).await?);

        let (card, card_changes) = watch::channel(settings.card);
        let (visits, visitors) = watch::channel(Vec::new());
        let (roster_changes, roster) = watch::channel(Roster::new());
        let (leaving, leave) = watch::channel(false);
        let forget = Arc::new(AtomicBool::new(false));
        let mut rounds = JoinSet::new();
        let round = Rounds {
            server: server.clone(),
            voice,
            card: card_changes,
            visits,
            roster: roster_changes,
            clock: Clock::start(),
            interval,
        };
        rounds.spawn(round.run(leave));
        others.spawn(seeds::ask(settings.seeds, settings.advertise, server.clone(), roster.clone()));
        let (heard, forgets) = (changed.clone(), forget.clone());
        let delivery =
            Delivery { server: server.clone(), ear, visits: visitors, changed: heard, forget: forgets, interval };
        others.spawn(delivery.run());
        Ok(Self { roster, card, leaving, changed, forget, address, server, rounds, others })
    }

    /// The other replicas that live, ordered by name, and changes of that.
    pub fn roster(&self) -> watch::Receiver<Roster> {
        self.roster.clone()
    }

    /// Where the socket is bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what this replica says of itself; said in the next round.
    pub fn update_card(&self, change: impl FnOnce(&mut ReplicaCard)) {
        self.card.send_modify(change);
    }

    /// Bytes of each value that this replica publishes, by key.
    pub fn sizes(&self) -> impl Future<Output = BTreeMap<String, usize>> + Send + use<> {
        let server = self.server.clone();
        async move {
            let mut chitchat = server.chitchat().await;
            let values = chitchat.self_node_state().key_values();
            values.map(|(key, value)| (key.to_owned(), value.len())).collect()
        }
    }

    /// Forgets what was heard, so that a scheduler that was born again hears all of it.
    pub fn rehear(&self) {
        self.forget.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Waits until the lane ends by itself, which only a broken chitchat makes it do. The roster is empty then, and a new
    /// lane needs a higher incarnation.
    pub async fn ended(&mut self) {
        self.rounds.join_next().await;
    }

    /// Says that this replica is leaving, and ends. What was said before is sent first.
    pub async fn leave(mut self) {
        self.update_card(|card| card.draining = true);
        self.leaving.send_replace(true);
        // Whoever can't say goodbye in time is gone without one.
        let _ = timeout(GOODBYE_MAX, self.rounds.join_next()).await;
        self.others.shutdown().await;
    }
}

/// The card as text, when all settings can be used.
fn checked(settings: &GossipSettings) -> Result<String, GossipError> {
    if !(1..=NAME_BYTES_MAX).contains(&settings.me.0.len()) {
        return Err(GossipError::Name(settings.me.0.len()));
    }
    if settings.interval.is_zero() {
        return Err(GossipError::Interval);
    }
    let card = serde_json::to_string(&settings.card).unwrap_or_default();
    if card.len() > VALUE_BYTES_MAX { Err(GossipError::Card(card.len())) } else { Ok(card) }
}

/// The envelope, whose keys are followed where there are any.
async fn sealed(settings: &GossipSettings, ear: &Ear, tasks: &mut JoinSet<()>) -> Result<Arc<Envelope>, GossipError> {
    let Seal::KeyFile(path) = &settings.seal else { return Ok(Arc::new(Envelope::new(&settings.tier, None))) };
    let text = rotation::read(path).await?;
    let envelope = Arc::new(Envelope::new(&settings.tier, Some(Keyring::parse(&text)?)));
    tasks.spawn(rotation::follow(path.clone(), text, envelope.clone(), ear.clone()));
    Ok(envelope)
}
