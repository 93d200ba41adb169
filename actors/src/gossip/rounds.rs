//! The lane's rounds: each interval say what changed, and show who lives.
//!
//! Must not know what is heard; a slow hearer delays no round, and no round waits for the scheduler.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chitchat::ChitchatId;
use murmuration::event::Event;
use murmuration::id::Incarnation;
use murmuration::replication::{Pages, ReplicaCard, SaltClaim};
use murmuration::time::Timestamp;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::link::Link;
use super::membership::{MembershipView, Visit};
use super::server::Server;
use super::{CARD, HEAD, SALT, VALUE_BYTES_MAX};
use crate::clock::Clock;
use crate::replication::{Members, Publisher, Receiver};

/// From one push to the next. Not all at once: everybody who is pushed to answers with all that this replica lacks at that
/// moment, so what came meanwhile would come once from each.
const PUSH_PACE: Duration = Duration::from_millis(4);
/// Peers that are all pushed to; of more than these, fewer are.
const ALL_PUSHED: usize = 3;
/// From one writing of pages to the next, while all who live hear the same by streams: gossip is then what is left when a
/// stream stands still and nobody has noticed yet. A load report that old has lost a fiftieth of its weight.
const REPEAT_EVERY: Duration = Duration::from_millis(500);
/// How long a stream may be missing before gossip takes its place. On a crowded machine streams break for a moment and come
/// again; pages in each round would only add to what there is to do.
const MISSED_AFTER: Duration = Duration::from_millis(300);
/// How long chitchat still answers after the last words were set: a peer fetches them by a round trip.
const GOODBYE_MIN: Duration = Duration::from_millis(100);

/// What the rounds work with.
pub(super) struct Rounds {
    pub(super) server: Arc<Server>,
    pub(super) link: Arc<Link>,
    pub(super) publisher: Publisher,
    /// Told of what found no room.
    pub(super) receiver: Receiver,
    pub(super) card: watch::Receiver<ReplicaCard>,
    /// The salt that this replica hashes prompts under, once it may be told.
    pub(super) salt: watch::Receiver<Option<SaltClaim>>,
    /// The oldest salt of the others.
    pub(super) salts: watch::Sender<Option<SaltClaim>>,
    pub(super) visits: watch::Sender<Vec<Visit<ChitchatId>>>,
    pub(super) members: watch::Sender<Members>,
    pub(super) clock: Clock,
    pub(super) interval: Duration,
}

/// Why the rounds are over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// This replica left, and said so.
    Left,
    /// chitchat ended.
    Failed(String),
    /// Others remember this or a higher incarnation of our name, and would not believe ours.
    Outlived(Incarnation),
}

/// What one round leaves for the next.
struct Progress {
    pages: Pages,
    membership: MembershipView<ChitchatId>,
    /// Peers still to be pushed to since words were set last.
    pushes: usize,
    /// Whose turn to be pushed to it is, counted on and on.
    turn: usize,
    written: Option<Timestamp>,
    /// The salt's claim that was said.
    salt: Option<SaltClaim>,
    /// When all who live last heard by streams what gossip would tell them.
    heard_at_once: Option<Timestamp>,
}

// === impl Rounds ===

impl Rounds {
    /// Goes round until `leaving` says so, then says goodbye; or until others can't believe this incarnation any more, or
    /// chitchat ends: then nobody lives.
    pub(super) async fn run(mut self, mut leaving: watch::Receiver<bool>) -> End {
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let membership = MembershipView::new(self.interval);
        let (pages, heard_at_once) = (Pages::default(), None);
        let mut progress = Progress { pages, membership, pushes: 0, turn: 0, written: None, salt: None, heard_at_once };
        let mut ended = std::pin::pin!(self.server.ended());
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    self.round(&mut progress).await;
                    if let Some(floor) = self.link.outlived() {
                        self.show(Vec::new());
                        return End::Outlived(floor);
                    }
                }
                () = sleep(PUSH_PACE), if progress.pushes > 0 => self.push(&mut progress),
                () = said(&mut leaving) => break,
                why = &mut ended => {
                    self.show(Vec::new());
                    return End::Failed(why);
                }
            }
        }
        progress.written = None;
        self.round(&mut progress).await;
        self.link.told_by_streams(std::iter::empty());
        self.visits.borrow().iter().for_each(|visit| self.server.push(visit.address.gossip_advertise_addr));
        sleep(GOODBYE_MIN.max(2 * self.interval)).await;
        self.server.stop().await;
        End::Left
    }

    async fn round(&mut self, progress: &mut Progress) {
        let now = self.clock.now();
        if self.is_heard_at_once() {
            progress.heard_at_once = Some(now);
        }
        let heard_at_once = progress.heard_at_once.is_some_and(|heard| now.since(heard) < MISSED_AFTER);
        let mut words = Vec::new();
        if is_due(progress.written, now, heard_at_once) {
            words = self.pages(&mut progress.pages);
            progress.written = Some(now);
        }
        let card = self.card();
        let introduced = card.is_some();
        words.extend(card);
        words.extend(self.salt(progress));
        words.retain(fits);
        if !words.is_empty() {
            self.server.set(words).await;
            // Streams bring pages sooner than a push would; who this replica is they don't bring.
            if introduced || !heard_at_once {
                progress.pushes = usize::MAX;
            }
        }
        let living = self.server.living().await;
        self.link.note(living.others.iter().map(|(member, _)| (&member.replica, member.incarnation)));
        let oldest = living.salts.into_iter().min();
        self.salts.send_if_modified(|known| std::mem::replace(known, oldest) != oldest);
        let visits = progress.membership.look(now, living.others);
        progress.pushes = progress.pushes.min(pushed_to(visits.len()));
        let told = heard_at_once && progress.pushes == 0;
        let peers = visits.iter().map(|visit| visit.address.gossip_advertise_addr).filter(|_| told);
        self.link.told_by_streams(peers);
        self.show(visits);
        if progress.pushes > 0 {
            self.push(progress);
        }
    }

    /// Pushes to the next peer.
    fn push(&self, progress: &mut Progress) {
        let visits = self.visits.borrow();
        let Some(last) = visits.len().checked_sub(1) else {
            progress.pushes = 0;
            return;
        };
        progress.turn = if progress.turn >= last { 0 } else { progress.turn + 1 };
        self.server.push(visits[progress.turn].address.gossip_advertise_addr);
        progress.pushes -= 1;
    }

    /// Whether all who live hear by streams what gossip would tell them.
    fn is_heard_at_once(&self) -> bool {
        let members = self.members.borrow();
        !members.is_empty() && self.publisher.subscribers().has_all(members.iter().map(|member| &member.replica))
    }

    /// What changed of what we say.
    fn pages(&self, pages: &mut Pages) -> Vec<(String, String)> {
        let before = pages.left_out();
        let written = self.publisher.write(pages);
        let facts = pages.left_out() - before;
        if facts > 0 {
            self.receiver.emit(&Event::GossipLeftOut { facts });
        }
        let mut words: Vec<_> = written.into_iter().map(|page| (page.key, STANDARD.encode(page.bytes))).collect();
        if !words.is_empty() {
            words.push((HEAD.to_owned(), self.publisher.head().borrow().to_string()));
        }
        words
    }

    /// The salt's claim, when it was not said yet.
    fn salt(&mut self, progress: &mut Progress) -> Option<(String, String)> {
        let claim = *self.salt.borrow_and_update();
        let untold = claim != std::mem::replace(&mut progress.salt, claim);
        claim.filter(|_| untold).map(|claim| (SALT.to_owned(), claim.to_string()))
    }

    /// What we say of ourselves, when that changed.
    fn card(&mut self) -> Option<(String, String)> {
        if !self.card.has_changed().unwrap_or(false) {
            return None;
        }
        let card = serde_json::to_string(&*self.card.borrow_and_update()).ok()?;
        Some((CARD.to_owned(), card))
    }

    fn show(&self, visits: Vec<Visit<ChitchatId>>) {
        let members: Members = visits.iter().map(|visit| visit.member.clone()).collect();
        self.visits.send_if_modified(|known| std::mem::replace(known, visits.clone()) != visits);
        self.members.send_if_modified(|known| std::mem::replace(known, members.clone()) != members);
    }
}

/// How many of so many peers are pushed to when words were set; they tell the others.
fn pushed_to(peers: usize) -> usize {
    if peers <= ALL_PUSHED { peers } else { peers.ilog2() as usize + 2 }
}

/// Whether pages are to be written at `now`, that were `written` last; `heard_at_once` says that others hear them anyway.
fn is_due(written: Option<Timestamp>, now: Timestamp, heard_at_once: bool) -> bool {
    !heard_at_once || written.is_none_or(|written| now.since(written) >= REPEAT_EVERY)
}

fn fits((key, value): &(String, String)) -> bool {
    let fits = value.len() <= VALUE_BYTES_MAX;
    if !fits {
        tracing::error!(key, bytes = value.len(), "a word beyond its budget is not said");
    }
    fits
}

/// Resolves when `leaving` says so, or when nobody can say so any more.
async fn said(leaving: &mut watch::Receiver<bool>) {
    let _ = leaving.wait_for(|leaving| *leaving).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_peers_are_all_pushed_to_and_many_by_few() {
        assert_eq!([0, 1, 2, 3].map(pushed_to), [0, 1, 2, 3]);
        assert_eq!([4, 7, 15, 100].map(pushed_to), [4, 4, 5, 8]);
    }

    #[test]
    fn pages_wait_only_while_streams_tell_the_same() {
        let written = Timestamp::ZERO;
        let (soon, later) = (written + REPEAT_EVERY - Duration::from_micros(1), written + REPEAT_EVERY);
        assert!(!is_due(Some(written), soon, true));
        assert!(is_due(Some(written), later, true));
        assert!(is_due(Some(written), soon, false), "somebody has no stream");
        assert!(is_due(None, written, true), "nothing was written yet, or this is the goodbye");
    }
}
