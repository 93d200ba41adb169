//! Whether a datagram that opened may be believed: its sender was reached here a short time ago, and its number is new.
//!
//! Must not know sockets, keys or what a message says. Whatever proves nothing is answered by a challenge, which is
//! smaller than what it answers, and by nothing else. So recordings revive nobody, and no address is sent more than it
//! sent unless it has shown that it can be reached.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use murmuration::id::{Incarnation, ReplicaId};
use murmuration::time::Timestamp;

use super::envelope::{Boot, Content, Datagram, Token};
use super::tokens::{Tokens, Window};

/// Incarnations above this are nobody's: a replica must always be able to take a higher one.
pub(super) const INCARNATION_MAX: Incarnation = Incarnation(u64::MAX >> 1);
/// How long the newest incarnation of a name is remembered: as long as anybody may still hold an older one.
pub(super) const MEMORY: Duration = Duration::from_secs(120);
/// After so long a silence the newest incarnation of a name is over, and a former one that still speaks may take the next.
const OVER: Duration = Duration::from_secs(3);
/// Senders whose numbers are kept, names whose incarnation is, and addresses whose token is.
const KEPT_MAX: usize = 1_024;
/// A message that may be sent again after a challenge: how large, and for how many addresses one is kept.
const AGAIN_BYTES_MAX: usize = 8 << 10;
const AGAIN_MAX: usize = 64;

/// What this replica knows of those who send to it.
#[derive(Debug)]
pub(super) struct Sessions {
    me: ReplicaId,
    incarnation: Incarnation,
    boot: Boot,
    /// The number of the next datagram.
    next: u64,
    tokens: Tokens,
    /// The token that each address wants back.
    held: BTreeMap<SocketAddr, Token>,
    senders: BTreeMap<Boot, Sender>,
    newest: BTreeMap<ReplicaId, Newest>,
    /// What was sent last to addresses whose token is not known.
    again: BTreeMap<SocketAddr, Vec<u8>>,
    /// The highest incarnation of our own name that somebody remembers, where it is not lower than ours.
    outlived: Option<Incarnation>,
}

#[derive(Debug)]
struct Sender {
    window: Window,
    heard: Timestamp,
    who: Option<(ReplicaId, Incarnation)>,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    incarnation: Incarnation,
    /// The start that it was heard of; `None` when others told.
    boot: Option<Boot>,
    seen: Timestamp,
}

/// What a datagram leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This part is believed.
    Take(Vec<u8>),
    /// This goes back, and nothing is believed; the word says why, where it is worth counting.
    Answer(Datagram, Option<&'static str>),
    /// Nothing goes back.
    Ignore(&'static str),
    /// The challenge was expected.
    Done,
}

// === impl Sessions ===

impl Sessions {
    /// The sessions of `me`, which begins as `incarnation` under this `boot`.
    pub(super) fn new(me: ReplicaId, incarnation: Incarnation, boot: Boot, tokens: Tokens) -> Self {
        let (held, senders, newest, again) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { me, incarnation, boot, next: 0, tokens, held, senders, newest, again, outlived: None }
    }

    /// Begins anew as `incarnation`, under another `boot`. What is known of others stays.
    pub(super) fn begin(&mut self, incarnation: Incarnation, boot: Boot) {
        (self.incarnation, self.boot, self.next, self.outlived) = (incarnation, boot, 0, None);
        self.again.clear();
    }

    /// The incarnation that all datagrams name.
    pub(super) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The highest incarnation of this name that somebody remembers, when ours is not higher.
    pub(super) fn outlived(&self) -> Option<Incarnation> {
        self.outlived
    }

    /// Whether `address` has told what it wants back.
    pub(super) fn knows(&self, address: SocketAddr) -> bool {
        self.held.contains_key(&address)
    }

    /// `part` for `to`.
    pub(super) fn message(&mut self, to: SocketAddr, part: &[u8], now: Timestamp) -> Datagram {
        if !self.knows(to) && part.len() <= AGAIN_BYTES_MAX {
            keep(&mut self.again, AGAIN_MAX, to, part.to_vec());
        }
        let (from, incarnation) = (self.me.clone(), self.incarnation);
        self.datagram(to, Content::Message { from, incarnation, part: part.to_vec() }, now)
    }

    /// What was sent to `to` before it told its token, once.
    pub(super) fn again(&mut self, to: SocketAddr) -> Option<Vec<u8>> {
        self.again.remove(&to)
    }

    /// The question of one who starts.
    pub(super) fn hello(&mut self, to: SocketAddr, now: Timestamp) -> Datagram {
        let (from, incarnation) = (self.me.clone(), self.incarnation);
        self.datagram(to, Content::Hello { from, incarnation }, now)
    }

    /// Others tell that `replica` lives as `incarnation`.
    pub(super) fn note(&mut self, replica: &ReplicaId, incarnation: Incarnation, now: Timestamp) {
        if incarnation <= INCARNATION_MAX
            && self.newest(replica, now).is_none_or(|known| known.incarnation <= incarnation)
        {
            let boot =
                self.newest.get(replica).filter(|known| known.incarnation == incarnation).and_then(|known| known.boot);
            keep(&mut self.newest, KEPT_MAX, replica.clone(), Newest { incarnation, boot, seen: now });
        }
    }

    /// What `datagram`, which opened, leads to.
    pub(super) fn judge(&mut self, from: SocketAddr, datagram: Datagram, now: Timestamp) -> Verdict {
        let Datagram { boot, number, echo, token, content } = datagram;
        if boot == self.boot {
            return Verdict::Ignore("reflected");
        }
        let fresh = self.tokens.is_fresh(&echo, from, now);
        match content {
            Content::Message { incarnation, .. } | Content::Hello { incarnation, .. }
                if incarnation > INCARNATION_MAX =>
            {
                Verdict::Ignore("malformed")
            }
            // The newest start of a name is the one to believe, so it is told at once what to exceed.
            Content::Hello { from: name, .. } => {
                let floor = self.floor(&name, boot, now);
                self.challenge(from, token, floor, now, None)
            }
            Content::Message { from: name, .. } if !fresh => {
                let floor = self.floor_of_the_past(&name, boot, now);
                // Two that meet for the first time have no token yet, which is nothing to count.
                let why = (echo != Tokens::NONE).then_some("stale");
                self.challenge(from, token, floor, now, why)
            }
            Content::Challenge { .. } if !fresh => Verdict::Ignore("stale"),
            Content::Challenge { floor } => {
                if !self.is_new(boot, number, None, now) {
                    return Verdict::Ignore("replayed");
                }
                keep(&mut self.held, KEPT_MAX, from, token);
                if floor >= self.incarnation && floor <= INCARNATION_MAX {
                    self.outlived = self.outlived.max(Some(floor));
                }
                Verdict::Done
            }
            Content::Message { from: name, incarnation, part } => {
                if !self.is_new(boot, number, Some((&name, incarnation)), now) {
                    return Verdict::Ignore("replayed");
                }
                if self.floor(&name, boot, now) >= incarnation {
                    let floor = self.floor_of_the_past(&name, boot, now);
                    return self.challenge(from, token, floor, now, Some("past-life"));
                }
                keep(&mut self.held, KEPT_MAX, from, token);
                keep(&mut self.newest, KEPT_MAX, name, Newest { incarnation, boot: Some(boot), seen: now });
                Verdict::Take(part)
            }
        }
    }

    fn challenge(
        &mut self,
        to: SocketAddr,
        echo: Token,
        floor: Incarnation,
        now: Timestamp,
        why: Option<&'static str>,
    ) -> Verdict {
        let answer = self.datagram(to, Content::Challenge { floor }, now);
        // The asker's own token, not the one that is held of this address: it proves that this answers what it sent.
        Verdict::Answer(Datagram { echo, ..answer }, why)
    }

    /// The highest incarnation of `name` that is known of another start than `boot`; 0 when none is.
    fn floor(&self, name: &ReplicaId, boot: Boot, now: Timestamp) -> Incarnation {
        let known = self.newest(name, now).filter(|known| known.boot != Some(boot));
        // What others told of this incarnation may be this very start, heard of by way of them.
        let known = known.map_or(Incarnation(0), |known| match known.boot {
            Some(_) => known.incarnation,
            None => Incarnation(known.incarnation.0.saturating_sub(1)),
        });
        if *name == self.me { known.max(self.incarnation) } else { known }
    }

    /// The same for one that speaks already: while a later start of its name lives, it has nothing to exceed but is over.
    fn floor_of_the_past(&self, name: &ReplicaId, boot: Boot, now: Timestamp) -> Incarnation {
        let silent = self.newest(name, now).is_some_and(|known| now.since(known.seen) > OVER);
        if silent { self.floor(name, boot, now) } else { Incarnation(0) }
    }

    fn newest(&self, name: &ReplicaId, now: Timestamp) -> Option<&Newest> {
        self.newest.get(name).filter(|known| now.since(known.seen) <= MEMORY)
    }

    fn datagram(&mut self, to: SocketAddr, content: Content, now: Timestamp) -> Datagram {
        let number = self.next;
        self.next += 1;
        let echo = self.held.get(&to).copied().unwrap_or(Tokens::NONE);
        Datagram { boot: self.boot, number, echo, token: self.tokens.issue(to, now), content }
    }

    /// Whether this number of this start comes for the first time, under the name that it always had.
    fn is_new(&mut self, boot: Boot, number: u64, who: Option<(&ReplicaId, Incarnation)>, now: Timestamp) -> bool {
        if !self.senders.contains_key(&boot) {
            // Only what proves no freshness any more may be forgotten: its recordings are stale by themselves.
            let life = self.tokens.life();
            if self.senders.len() >= KEPT_MAX {
                self.senders.retain(|_, sender| now.since(sender.heard) <= life);
            }
            if self.senders.len() >= KEPT_MAX {
                return false;
            }
        }
        let sender = self.senders.entry(boot).or_insert(Sender { window: Window::default(), heard: now, who: None });
        if let Some((name, incarnation)) = who {
            let known = sender.who.get_or_insert_with(|| (name.clone(), incarnation));
            if known.0 != *name || known.1 != incarnation {
                return false;
            }
        }
        sender.heard = now;
        sender.window.first_time(number)
    }
}

/// Puts `value` in; what is there makes room when there are too many.
fn keep<K: Ord, V>(map: &mut BTreeMap<K, V>, most: usize, key: K, value: V) {
    if map.len() >= most && !map.contains_key(&key) {
        map.pop_first();
    }
    map.insert(key, value);
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
