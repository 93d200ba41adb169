//! Hands the pages of peers to the receiver: each version of each page once in each stay.
//!
//! Must not know what a page contains. Versions are compared, so nothing queues up: a slow reader finds the newest.

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

use super::membership::PresentMember;
use super::server::Server;
use super::{CARD, HEAD, SALT, VALUE_BYTES_MAX};
use crate::replication::{Lane, Receiver};

/// What delivery works with.
pub(super) struct Delivery {
    pub(super) server: Arc<Server>,
    pub(super) receiver: Receiver,
    pub(super) present: watch::Receiver<Vec<PresentMember<ChitchatId>>>,
    /// Notified when a value arrives.
    pub(super) changed: Arc<Notify>,
    /// Set when everything is to be delivered again.
    pub(super) forget: Arc<AtomicBool>,
    /// How often pages are checked without a notification.
    pub(super) interval: Duration,
}

/// How far one peer's pages were delivered in one stay of it.
#[derive(Debug, Default)]
struct Delivered {
    stay: u64,
    /// All pages up to this version were. A peer numbers all its values with one counter, and chitchat brings them in
    /// that order.
    upto: Version,
}

/// A page that was not delivered yet.
#[derive(Debug, PartialEq, Eq)]
enum Page {
    /// As text.
    Text(String),
    /// Not a page that this release can read.
    Malformed,
}

// === impl Delivery ===

impl Delivery {
    /// Delivers for ever.
    pub(super) async fn run(mut self) {
        let mut delivered = BTreeMap::new();
        loop {
            // A timeout triggers a check like a notification.
            let _ = timeout(self.interval, self.changed.notified()).await;
            if self.forget.swap(false, Ordering::AcqRel) {
                delivered.clear();
            }
            self.deliver(&mut delivered).await;
        }
    }

    async fn deliver(&mut self, delivered: &mut BTreeMap<ReplicaId, Delivered>) {
        let present = self.present.borrow_and_update().clone();
        delivered.retain(|replica, _| present.iter().any(|entry| entry.member.replica == *replica));
        for entry in present {
            let peer = entry.member.replica;
            let delivered = delivered.entry(peer.clone()).or_default();
            if delivered.stay != entry.stay {
                *delivered = Delivered { stay: entry.stay, upto: 0 };
            }
            let pages = match self.server.chitchat().await.node_state(&entry.address) {
                Some(state) => delivered.undelivered(state),
                None => continue,
            };
            for page in pages {
                self.receive(&peer, page, entry.member.card.is_understood()).await;
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
            Some(bytes) => drop(self.receiver.receive(Lane::Gossip, peer, &bytes).await),
            None => self.receiver.ignore(peer, "malformed"),
        }
    }
}

// === impl Delivered ===

impl Delivered {
    /// The pages in `state` that are not delivered yet; they count as delivered from now on. Placements come first, the
    /// oldest first: a dispatch is delivered before the count that includes it. Of in-flight and load reports the
    /// newest page comes first. What it replaces in the other pages may be long out of date, and is then never
    /// believed.
    fn undelivered(&mut self, state: &NodeState) -> Vec<Page> {
        let upto = std::mem::replace(&mut self.upto, state.max_version());
        if upto == self.upto {
            return Vec::new();
        }
        // A version below the last one means that the state was started anew.
        let upto = if upto < self.upto { upto } else { 0 };
        let mut pages = Vec::new();
        for (key, value) in state.key_values_including_deleted().filter(|(_, value)| value.version > upto) {
            let is_head = key.strip_prefix(HEAD).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            if is_head || [CARD, SALT].contains(&key) || value.is_deleted() {
                continue;
            }
            let fits = is_page(key) && value.value.len() <= VALUE_BYTES_MAX;
            let page = if fits { Page::Text(value.value.clone()) } else { Page::Malformed };
            let turn = if key.starts_with('p') { value.version } else { Version::MAX - value.version };
            pages.push((!key.starts_with('p'), turn, page));
        }
        pages.sort_unstable_by_key(|(later, turn, _)| (*later, *turn));
        pages.into_iter().map(|(_, _, page)| page).collect()
    }
}

/// Whether `key` is the key of a page: its kind, then its number, and the number of its pool unless that is the default
/// one.
fn is_page(key: &str) -> bool {
    let is_number = |text: &str| text.parse::<u8>().is_ok();
    key.strip_prefix(['f', 'l', 'p']).is_some_and(|numbers| match numbers.split_once('.') {
        Some((page, pool)) => is_number(page) && is_number(pool),
        None => is_number(numbers),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Page {
        Page::Text(text.to_owned())
    }

    #[test]
    fn each_version_is_delivered_once_placements_in_order_and_the_rest_newest_first() {
        let (mut delivered, mut state) = (Delivered::default(), NodeState::for_test());
        state.set("f1", "old");
        state.set("p1", "one");
        state.set("f0", "new");
        state.set("p0", "two");
        state.set(CARD, "{}");
        state.set(HEAD, "2");
        state.set(super::super::head_key("llama"), "2");
        state.set(SALT, "1:00");
        assert_eq!(delivered.undelivered(&state), ["one", "two", "new", "old"].map(text));
        assert_eq!(delivered.undelivered(&state), []);
        state.set("p1", "three");
        assert_eq!(delivered.undelivered(&state), [text("three")]);
    }

    #[test]
    fn a_state_that_was_started_anew_is_delivered_from_its_beginning() {
        let (mut delivered, mut long, mut anew) = (Delivered::default(), NodeState::for_test(), NodeState::for_test());
        ["p0", "p1", "p2"].into_iter().for_each(|key| long.set(key, "old"));
        anew.set("p0", "new");
        assert_eq!(delivered.undelivered(&long).len(), 3);
        assert_eq!((delivered.undelivered(&anew), delivered.undelivered(&anew)), (vec![text("new")], vec![]));
    }

    #[test]
    fn a_malformed_page_is_reported_once_and_never_delivered() {
        let (mut delivered, mut state) = (Delivered::default(), NodeState::for_test());
        state.set("x0", "a");
        state.set("p", "a");
        state.set("p999", "a");
        state.set("f0.x", "a");
        state.set("f0.1", "a");
        state.set("l0", "a".repeat(VALUE_BYTES_MAX + 1));
        state.set("l1", "a".repeat(VALUE_BYTES_MAX));
        let pages = delivered.undelivered(&state);
        assert_eq!(pages.iter().filter(|page| **page == Page::Malformed).count(), 5);
        assert_eq!((pages.len(), delivered.undelivered(&state).len()), (7, 0));
    }
}
