//! The lane's rounds: each interval they publish what changed and update the members.
//!
//! Must not know what is received. A slow reader delays no round, and no round waits for the scheduler.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chitchat::ChitchatId;
use murmuration::event::Event;
use murmuration::id::{Incarnation, PoolId};
use murmuration::replication::{Page, Pages, ReplicaCard, SaltClaim, codec, relays};
use murmuration::time::Timestamp;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::link::Link;
use super::membership::{MembershipView, PresentMember};
use super::server::Server;
use super::{CARD, HEAD, SALT, VALUE_BYTES_MAX, head_key};
use crate::clock::Clock;
use crate::replication::{Members, Publisher, Receiver};

/// Pause between two pushes. Each pushed peer replies with the deltas that this replica is missing at that moment, so
/// simultaneous pushes would bring the same deltas from each.
const PUSH_PACE: Duration = Duration::from_millis(4);
/// The number of peers up to which all are pushed to; of more, only some are.
const ALL_PUSHED: usize = 3;
/// Pause between two updates of the pages while all living peers follow by stream. Gossip then only covers a stream
/// that stands still unnoticed. A load report this old has lost a fiftieth of its weight.
const REPEAT_EVERY: Duration = Duration::from_millis(500);
/// How long a stream may be missing before gossip replaces it. On a busy machine streams break for a moment and
/// reconnect; pages in each round would only add load.
const STREAM_LOST_AFTER: Duration = Duration::from_millis(300);
/// How long chitchat still answers after the last values were set: a peer fetches them by a round trip.
const LEAVE_LINGER_MIN: Duration = Duration::from_millis(100);

/// What the rounds work with.
pub(super) struct Rounds {
    pub(super) server: Arc<Server>,
    pub(super) link: Arc<Link>,
    /// One for each pool.
    pub(super) publishers: Vec<Publisher>,
    /// Reports facts that found no room.
    pub(super) receiver: Receiver,
    pub(super) card: watch::Receiver<ReplicaCard>,
    /// The salt that this replica hashes prompts with, once it may be published.
    pub(super) salt: watch::Receiver<Option<SaltClaim>>,
    /// The oldest salt of the peers.
    pub(super) salts: watch::Sender<Option<SaltClaim>>,
    pub(super) present: watch::Sender<Vec<PresentMember<ChitchatId>>>,
    pub(super) members: watch::Sender<Members>,
    pub(super) clock: Clock,
    pub(super) interval: Duration,
}

/// Why the rounds ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// This replica left, and announced it.
    Left,
    /// chitchat ended.
    Failed(String),
    /// Peers remember this or a higher incarnation of this replica's name, and would refuse its own.
    Superseded(Incarnation),
}

/// The state that one round leaves for the next.
struct Progress {
    /// The pages of each publisher.
    pages: Vec<Pages>,
    membership: MembershipView<ChitchatId>,
    /// Peers still to be pushed to since values were set last.
    pushes: usize,
    /// The index of the peer that was pushed to last.
    turn: usize,
    written: Option<Timestamp>,
    /// The salt claim that was published.
    salt: Option<SaltClaim>,
    /// The wire version that all peers read which were last present.
    readers: u8,
    /// When all living peers last followed by stream.
    streamed_at: Option<Timestamp>,
}

// === impl Rounds ===

impl Rounds {
    /// Runs rounds until `leaving` is true, then leaves. Ends early when peers refuse this incarnation or chitchat
    /// ends: then the members are empty.
    pub(super) async fn run(mut self, mut leaving: watch::Receiver<bool>) -> End {
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let membership = MembershipView::new(self.interval);
        let mut progress = Progress {
            pages: self.publishers.iter().map(|_| Pages::default()).collect(),
            membership,
            pushes: 0,
            turn: 0,
            written: None,
            salt: None,
            readers: codec::VERSION,
            streamed_at: None,
        };
        let mut ended = std::pin::pin!(self.server.ended());
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    self.round(&mut progress).await;
                    if let Some(floor) = self.link.superseded_by() {
                        self.set_members(Vec::new());
                        return End::Superseded(floor);
                    }
                }
                () = sleep(PUSH_PACE), if progress.pushes > 0 => self.push(&mut progress),
                () = leave_requested(&mut leaving) => break,
                why = &mut ended => {
                    self.set_members(Vec::new());
                    return End::Failed(why);
                }
            }
        }
        progress.written = None;
        self.round(&mut progress).await;
        self.link.set_peers("", std::iter::empty(), false);
        self.present.borrow().iter().for_each(|entry| self.server.push(entry.address.gossip_advertise_addr));
        sleep(LEAVE_LINGER_MIN.max(2 * self.interval)).await;
        self.server.stop().await;
        End::Left
    }

    async fn round(&mut self, progress: &mut Progress) {
        let now = self.clock.now();
        if self.all_follow_by_stream() {
            progress.streamed_at = Some(now);
        }
        let streamed = progress.streamed_at.is_some_and(|at| now.since(at) < STREAM_LOST_AFTER);
        let mut values = Vec::new();
        if is_due(progress.written, now, streamed) {
            if let Some(readers) = self.members.borrow().iter().map(|member| member.card.wire.1).min() {
                progress.readers = readers;
            }
            for (number, pages) in progress.pages.iter_mut().enumerate() {
                values.extend(self.pages(number, pages, progress.readers));
            }
            progress.written = Some(now);
        }
        let card = self.card();
        let card_changed = card.is_some();
        values.extend(card);
        values.extend(self.salt(progress));
        values.retain(fits);
        if !values.is_empty() {
            self.server.set(values).await;
            // Streams bring pages sooner than a push would, but not the card.
            if card_changed || !streamed {
                progress.pushes = usize::MAX;
            }
        }
        let living = self.server.living().await;
        self.link.note(living.others.iter().map(|(member, _)| (&member.replica, member.incarnation)));
        let oldest = living.salts.into_iter().min();
        self.salts.send_if_modified(|known| std::mem::replace(known, oldest) != oldest);
        let present = progress.membership.update(now, living.others);
        progress.pushes = progress.pushes.min(pushed_to(present.len()));
        let streams_suffice = streamed && progress.pushes == 0;
        let peers = present.iter().map(|entry| (entry.address.gossip_advertise_addr, &*entry.member.card.zone));
        self.link.set_peers(&self.card.borrow().zone, peers, streams_suffice);
        self.set_members(present);
        if progress.pushes > 0 {
            self.push(progress);
        }
    }

    /// Pushes to the next peer.
    fn push(&self, progress: &mut Progress) {
        let present = self.present.borrow();
        let Some(last) = present.len().checked_sub(1) else {
            progress.pushes = 0;
            return;
        };
        progress.turn = if progress.turn >= last { 0 } else { progress.turn + 1 };
        self.server.push(present[progress.turn].address.gossip_advertise_addr);
        progress.pushes -= 1;
    }

    /// Whether all living peers get by stream what gossip would bring, from this replica or from one that relays.
    fn all_follow_by_stream(&self) -> bool {
        let (members, zone) = (self.members.borrow(), self.card.borrow().zone.clone());
        let has_all = |publisher: &Publisher| {
            let members = members.iter().filter(|member| member.card.serves(publisher.pool()));
            relays::all_reached(&zone, members, |replica| publisher.subscribers().has(replica))
        };
        !members.is_empty() && self.publishers.iter().all(has_all)
    }

    /// The values of a publisher's pages that changed, for peers that read wire version `readers`.
    fn pages(&self, number: usize, pages: &mut Pages, readers: u8) -> Vec<(String, String)> {
        let Some(publisher) = self.publishers.get(number) else { return Vec::new() };
        let before = pages.left_out();
        let written = publisher.write(pages, readers);
        let facts = pages.left_out() - before;
        if facts > 0 {
            self.receiver.emit(&Event::GossipLeftOut { facts });
        }
        let value = |page: Page| (key_of(publisher.pool(), number, page.key), STANDARD.encode(page.bytes));
        let mut values: Vec<_> = written.into_iter().map(value).collect();
        if !values.is_empty() {
            let pool = publisher.pool();
            let key = if pool.is_default() { HEAD.to_owned() } else { head_key(pool.as_str()) };
            values.push((key, publisher.head().borrow().to_string()));
        }
        values
    }

    /// The value of the salt claim, if it was not published yet.
    fn salt(&mut self, progress: &mut Progress) -> Option<(String, String)> {
        let claim = *self.salt.borrow_and_update();
        let unpublished = claim != std::mem::replace(&mut progress.salt, claim);
        claim.filter(|_| unpublished).map(|claim| (SALT.to_owned(), claim.to_string()))
    }

    /// The value of this replica's card, if that changed.
    fn card(&mut self) -> Option<(String, String)> {
        if !self.card.has_changed().unwrap_or(false) {
            return None;
        }
        let card = serde_json::to_string(&*self.card.borrow_and_update()).ok()?;
        Some((CARD.to_owned(), card))
    }

    fn set_members(&self, present: Vec<PresentMember<ChitchatId>>) {
        let members: Members = present.iter().map(|entry| entry.member.clone()).collect();
        self.present.send_if_modified(|known| std::mem::replace(known, present.clone()) != present);
        self.members.send_if_modified(|known| std::mem::replace(known, members.clone()) != members);
    }
}

/// The key of a page of the publisher with this number. Batches name their pools, so the number means nothing to peers.
/// Versions 1 to 3 read keys without a number alone, and the default pool alone.
fn key_of(pool: &PoolId, publisher: usize, key: String) -> String {
    if pool.is_default() { key } else { format!("{key}.{publisher}") }
}

/// How many of `peers` are pushed to when values were set; these spread them to the others.
fn pushed_to(peers: usize) -> usize {
    if peers <= ALL_PUSHED { peers } else { peers.ilog2() as usize + 2 }
}

/// Whether pages are to be written at `now`, last `written` at that time; `streamed` while peers get them by stream.
fn is_due(written: Option<Timestamp>, now: Timestamp, streamed: bool) -> bool {
    !streamed || written.is_none_or(|written| now.since(written) >= REPEAT_EVERY)
}

fn fits((key, value): &(String, String)) -> bool {
    let fits = value.len() <= VALUE_BYTES_MAX;
    if !fits {
        tracing::error!(key, bytes = value.len(), "a gossip value beyond its budget is not published");
    }
    fits
}

/// Resolves when `leaving` is true, or when its sender is gone.
async fn leave_requested(leaving: &mut watch::Receiver<bool>) {
    let _ = leaving.wait_for(|leaving| *leaving).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_few_peers_all_are_pushed_to_and_of_many_some() {
        assert_eq!([0, 1, 2, 3].map(pushed_to), [0, 1, 2, 3]);
        assert_eq!([4, 7, 15, 100].map(pushed_to), [4, 4, 5, 8]);
    }

    #[test]
    fn pages_wait_only_while_peers_follow_by_stream() {
        let written = Timestamp::ZERO;
        let (soon, later) = (written + REPEAT_EVERY - Duration::from_micros(1), written + REPEAT_EVERY);
        assert!(!is_due(Some(written), soon, true));
        assert!(is_due(Some(written), later, true));
        assert!(is_due(Some(written), soon, false), "a peer has no stream");
        assert!(is_due(None, written, true), "nothing was written yet, or this replica leaves");
    }
}
