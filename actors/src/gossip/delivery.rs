//! What the others said is handed to the receiver: each version of each page once in each stay.
//!
//! Must not know what a page says. Versions are compared, so nothing queues up: a hearer that is slow finds the newest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chitchat::{ChitchatId, NodeState, Version};
use murmuration::id::ReplicaId;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::membership::Visit;
use super::server::Server;
use super::{CARD, HEAD, SALT, VALUE_BYTES_MAX};
use crate::replication::{Lane, Receiver};

/// Whom delivery works for, and from what.
pub(super) struct Delivery {
    pub(super) server: Arc<Server>,
    pub(super) receiver: Receiver,
    pub(super) visits: watch::Receiver<Vec<Visit<ChitchatId>>>,
    /// Notified when something came.
    pub(super) changed: Arc<Notify>,
    /// Set when all is to be heard anew.
    pub(super) forget: Arc<AtomicBool>,
    /// How often it is looked without being notified.
    pub(super) interval: Duration,
}

/// How far one peer's pages were heard in one stay of it.
#[derive(Debug, Default)]
struct Heard {
    stay: u64,
    /// All up to this version were. A peer numbers all that it says with one count, and chitchat brings it in that order.
    upto: Version,
}

/// A page that was not heard yet.
#[derive(Debug, PartialEq, Eq)]
enum Page {
    /// As text.
    Text(String),
    /// Not a page that this release can take.
    Malformed,
}

// === impl Delivery ===

impl Delivery {
    /// Delivers for ever.
    pub(super) async fn run(mut self) {
        let mut heard = BTreeMap::new();
        loop {
            // A timeout is a look like any other.
            let _ = timeout(self.interval, self.changed.notified()).await;
            if self.forget.swap(false, Ordering::AcqRel) {
                heard.clear();
            }
            self.deliver(&mut heard).await;
        }
    }

    async fn deliver(&mut self, heard: &mut BTreeMap<ReplicaId, Heard>) {
        let visits = self.visits.borrow_and_update().clone();
        heard.retain(|replica, _| visits.iter().any(|visit| visit.member.replica == *replica));
        for visit in visits {
            let peer = visit.member.replica;
            let heard = heard.entry(peer.clone()).or_default();
            if heard.stay != visit.stay {
                *heard = Heard { stay: visit.stay, upto: 0 };
            }
            let pages = match self.server.chitchat().await.node_state(&visit.address) {
                Some(state) => heard.news(state),
                None => continue,
            };
            for page in pages {
                self.receive(&peer, page, visit.member.card.is_understood()).await;
            }
        }
    }

    async fn receive(&self, peer: &ReplicaId, page: Page, understood: bool) {
        let bytes = match page {
            Page::Text(text) => STANDARD.decode(text).ok(),
            Page::Malformed => None,
        };
        match bytes {
            _ if !understood => self.receiver.ignore(peer, "too-new"),
            Some(bytes) => self.receiver.receive(Lane::Gossip, peer, &bytes).await,
            None => self.receiver.ignore(peer, "malformed"),
        };
    }
}

// === impl Heard ===

impl Heard {
    /// The pages in `state` that are not heard yet; they count as heard from now on. Placements come first, the oldest before
    /// the others: a dispatch is told before the count that includes it. Of open work and readings the newest page comes
    /// first, so that what it replaces in the others, which may be long out of date, is never believed for a moment.
    fn news(&mut self, state: &NodeState) -> Vec<Page> {
        let upto = std::mem::replace(&mut self.upto, state.max_version());
        if upto == self.upto {
            return Vec::new();
        }
        // Below what was heard, it is a state that was begun anew.
        let upto = if upto < self.upto { upto } else { 0 };
        let mut news = Vec::new();
        for (key, value) in state.key_values_including_deleted().filter(|(_, value)| value.version > upto) {
            if [CARD, HEAD, SALT].contains(&key) || value.is_deleted() {
                continue;
            }
            let fits = is_page(key) && value.value.len() <= VALUE_BYTES_MAX;
            let page = if fits { Page::Text(value.value.clone()) } else { Page::Malformed };
            let turn = if key.starts_with('p') { value.version } else { Version::MAX - value.version };
            news.push((!key.starts_with('p'), turn, page));
        }
        news.sort_unstable_by_key(|(later, turn, _)| (*later, *turn));
        news.into_iter().map(|(_, _, page)| page).collect()
    }
}

/// Whether `key` is one of a page: its kind, then its number.
fn is_page(key: &str) -> bool {
    key.strip_prefix(['f', 'l', 'p']).is_some_and(|number| number.parse::<u8>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Page {
        Page::Text(text.to_owned())
    }

    #[test]
    fn each_version_is_heard_once_placements_as_they_came_and_the_rest_the_newest_first() {
        let (mut heard, mut state) = (Heard::default(), NodeState::for_test());
        state.set("f1", "old");
        state.set("p1", "one");
        state.set("f0", "new");
        state.set("p0", "two");
        state.set(CARD, "{}");
        state.set(HEAD, "2");
        state.set(SALT, "1:00");
        assert_eq!(heard.news(&state), ["one", "two", "new", "old"].map(text));
        assert_eq!(heard.news(&state), []);
        state.set("p1", "three");
        assert_eq!(heard.news(&state), [text("three")]);
    }

    #[test]
    fn a_state_that_was_begun_anew_is_heard_from_its_beginning() {
        let (mut heard, mut long, mut anew) = (Heard::default(), NodeState::for_test(), NodeState::for_test());
        ["p0", "p1", "p2"].into_iter().for_each(|key| long.set(key, "old"));
        anew.set("p0", "new");
        assert_eq!(heard.news(&long).len(), 3);
        assert_eq!((heard.news(&anew), heard.news(&anew)), (vec![text("new")], vec![]));
    }

    #[test]
    fn what_is_no_page_is_told_once_and_never_taken() {
        let (mut heard, mut state) = (Heard::default(), NodeState::for_test());
        state.set("x0", "a");
        state.set("p", "a");
        state.set("p999", "a");
        state.set("l0", "a".repeat(VALUE_BYTES_MAX + 1));
        state.set("l1", "a".repeat(VALUE_BYTES_MAX));
        let news = heard.news(&state);
        assert_eq!(news.iter().filter(|page| **page == Page::Malformed).count(), 4);
        assert_eq!((news.len(), heard.news(&state).len()), (5, 0));
    }
}
