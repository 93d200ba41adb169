//! The lane's rounds: each interval say what changed, and show who lives.
//!
//! Must not know what is heard; a slow hearer delays no round, and no round waits for the scheduler.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chitchat::ChitchatId;
use murmuration::share::{Pages, ReplicaCard};
use murmuration::time::Timestamp;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::census::{Census, Visit};
use super::server::Server;
use super::{CARD, HEAD, VALUE_BYTES_MAX};
use crate::clock::Clock;
use crate::flock::{Roster, Voice};

/// From one push to the next at least; more often costs more than it brings.
const PUSH_EVERY: Duration = Duration::from_millis(20);
/// How long chitchat still answers after the last words were set: a peer fetches them by a round trip.
const GOODBYE_MIN: Duration = Duration::from_millis(100);

/// What the rounds work with.
pub(super) struct Rounds {
    pub(super) server: Arc<Server>,
    pub(super) voice: Voice,
    pub(super) card: watch::Receiver<ReplicaCard>,
    pub(super) visits: watch::Sender<Vec<Visit<ChitchatId>>>,
    pub(super) roster: watch::Sender<Roster>,
    pub(super) clock: Clock,
    pub(super) interval: Duration,
}

/// What one round leaves for the next.
struct Progress {
    pages: Pages,
    census: Census<ChitchatId>,
    unpushed: bool,
    pushed: Option<Timestamp>,
}

// === impl Rounds ===

impl Rounds {
    /// Goes round until `leaving` says so, then says goodbye; or until chitchat ends, and then nobody lives.
    pub(super) async fn run(mut self, mut leaving: watch::Receiver<bool>) {
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let census = Census::new(self.interval);
        let mut progress = Progress { pages: Pages::default(), census, unpushed: false, pushed: None };
        let mut ended = std::pin::pin!(self.server.ended());
        loop {
            tokio::select! {
                _ = ticks.tick() => self.round(&mut progress).await,
                () = said(&mut leaving) => break,
                why = &mut ended => {
                    tracing::error!(why, "gossip ended; this replica hears nobody until it is started anew");
                    self.show(Vec::new());
                    return;
                }
            }
        }
        progress.pushed = None;
        self.round(&mut progress).await;
        sleep(GOODBYE_MIN.max(2 * self.interval)).await;
        self.server.stop().await;
    }

    async fn round(&mut self, progress: &mut Progress) {
        let words = self.words(&mut progress.pages);
        if !words.is_empty() {
            self.server.set(words).await;
            progress.unpushed = true;
        }
        let now = self.clock.now();
        let visits = progress.census.look(now, self.server.living().await);
        let rested = progress.pushed.is_none_or(|pushed| now.since(pushed) >= PUSH_EVERY);
        if progress.unpushed && rested {
            visits.iter().for_each(|visit| self.server.push(visit.address.gossip_advertise_addr));
            (progress.unpushed, progress.pushed) = (false, Some(now));
        }
        self.show(visits);
    }

    /// What changed of what we say.
    fn words(&mut self, pages: &mut Pages) -> Vec<(String, String)> {
        let pages = self.voice.write(pages);
        let mut words: Vec<_> = pages.into_iter().map(|page| (page.key, STANDARD.encode(page.bytes))).collect();
        if !words.is_empty() {
            words.push((HEAD.to_owned(), self.voice.head().borrow().to_string()));
        }
        if self.card.has_changed().unwrap_or(false)
            && let Ok(card) = serde_json::to_string(&*self.card.borrow_and_update())
        {
            words.push((CARD.to_owned(), card));
        }
        words.retain(|(key, value)| {
            let fits = value.len() <= VALUE_BYTES_MAX;
            if !fits {
                tracing::error!(key, bytes = value.len(), "a word beyond its budget is not said");
            }
            fits
        });
        words
    }

    fn show(&self, visits: Vec<Visit<ChitchatId>>) {
        let members: Roster = visits.iter().map(|visit| visit.member.clone()).collect();
        self.visits.send_if_modified(|known| std::mem::replace(known, visits.clone()) != visits);
        self.roster.send_if_modified(|known| std::mem::replace(known, members.clone()) != members);
    }
}

/// Resolves when `leaving` says so, or when nobody can say so any more.
async fn said(leaving: &mut watch::Receiver<bool>) {
    let _ = leaving.wait_for(|leaving| *leaving).await;
}
