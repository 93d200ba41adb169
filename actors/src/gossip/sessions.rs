//! Decides whether an opened datagram is accepted: its sender was reached here a short time ago, and its number is new.
//!
//! Must not know sockets, keys or what a message contains. A datagram that proves no freshness is answered only by a
//! challenge, which is always smaller. So recordings can't revive a dead replica, and an address gets no more bytes
//! than it sent until it has shown that it can be reached.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use murmuration::id::{Incarnation, ReplicaId};
use murmuration::time::Timestamp;

use super::envelope::{Boot, Content, Datagram, Token};
use super::tokens::{Tokens, Window};

/// Incarnations above this are invalid: a replica must always be able to take a higher one.
pub(super) const INCARNATION_MAX: Incarnation = Incarnation(u64::MAX >> 1);
/// How long the newest incarnation of a name is remembered: as long as any peer may still hold an older one.
pub(super) const MEMORY: Duration = Duration::from_secs(120);
/// After this much silence the newest incarnation of a name counts as ended. A former one that still sends may then
/// take the next.
const SUCCESSOR_SILENCE: Duration = Duration::from_secs(3);
/// Most senders with tracked numbers, names with a known incarnation, and addresses with a known token.
const KEPT_MAX: usize = 1_024;
/// The largest part that is kept to be sent again after a challenge, and the most addresses with one.
const AGAIN_BYTES_MAX: usize = 8 << 10;
const AGAIN_MAX: usize = 64;

/// What this replica knows of its senders.
#[derive(Debug)]
pub(super) struct Sessions {
    me: ReplicaId,
    incarnation: Incarnation,
    boot: Boot,
    /// The number of the next datagram.
    next: u64,
    tokens: Tokens,
    /// The token that each address expects back.
    held: BTreeMap<SocketAddr, Token>,
    senders: BTreeMap<Boot, Sender>,
    newest: BTreeMap<ReplicaId, Newest>,
    /// The part sent last to each address whose token is not known.
    again: BTreeMap<SocketAddr, Vec<u8>>,
    /// The highest incarnation that peers remember of this replica's name, unless its own is higher.
    superseded_by: Option<Incarnation>,
}

#[derive(Debug)]
struct Sender {
    window: Window,
    received: Timestamp,
    who: Option<(ReplicaId, Incarnation)>,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    incarnation: Incarnation,
    /// The lane start that sent it; `None` when only other peers reported it.
    boot: Option<Boot>,
    seen: Timestamp,
}

/// What follows from a datagram.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This part is accepted.
    Take(Vec<u8>),
    /// This goes back, and nothing is accepted. The reason is given where it is counted.
    Answer(Datagram, Option<&'static str>),
    /// Nothing goes back, for this reason.
    Ignore(&'static str),
    /// The challenge was expected.
    Done,
}

// === impl Sessions ===

impl Sessions {
    /// The sessions of `me`, which starts as `incarnation` with this `boot`.
    pub(super) fn new(me: ReplicaId, incarnation: Incarnation, boot: Boot, tokens: Tokens) -> Self {
        let (held, senders, newest, again) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { me, incarnation, boot, next: 0, tokens, held, senders, newest, again, superseded_by: None }
    }

    /// Restarts as `incarnation` with another `boot`. What is known of peers stays.
    pub(super) fn begin(&mut self, incarnation: Incarnation, boot: Boot) {
        (self.incarnation, self.boot, self.next, self.superseded_by) = (incarnation, boot, 0, None);
        self.again.clear();
    }

    /// The incarnation that all sent datagrams name.
    pub(super) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The highest incarnation that peers remember of this replica's name, unless its own is higher.
    pub(super) fn superseded_by(&self) -> Option<Incarnation> {
        self.superseded_by
    }

    /// Whether the token that `address` expects back is known.
    pub(super) fn knows(&self, address: SocketAddr) -> bool {
        self.held.contains_key(&address)
    }

    /// A datagram that carries `part` to `to`.
    pub(super) fn message(&mut self, to: SocketAddr, part: &[u8], now: Timestamp) -> Datagram {
        if !self.knows(to) && part.len() <= AGAIN_BYTES_MAX {
            keep(&mut self.again, AGAIN_MAX, to, part.to_vec());
        }
        let (from, incarnation) = (self.me.clone(), self.incarnation);
        self.datagram(to, Content::Message { from, incarnation, part: part.to_vec() }, now)
    }

    /// Takes the part that was sent to `to` before its token was known.
    pub(super) fn again(&mut self, to: SocketAddr) -> Option<Vec<u8>> {
        self.again.remove(&to)
    }

    /// The question of a starting replica.
    pub(super) fn hello(&mut self, to: SocketAddr, now: Timestamp) -> Datagram {
        let (from, incarnation) = (self.me.clone(), self.incarnation);
        self.datagram(to, Content::Hello { from, incarnation }, now)
    }

    /// Records that peers report `replica` to live as `incarnation`.
    pub(super) fn note(&mut self, replica: &ReplicaId, incarnation: Incarnation, now: Timestamp) {
        if incarnation <= INCARNATION_MAX
            && self.newest(replica, now).is_none_or(|known| known.incarnation <= incarnation)
        {
            let boot =
                self.newest.get(replica).filter(|known| known.incarnation == incarnation).and_then(|known| known.boot);
            keep(&mut self.newest, KEPT_MAX, replica.clone(), Newest { incarnation, boot, seen: now });
        }
    }

    /// Decides what follows from `datagram`, which was opened.
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
            // The newest start of a name is the valid one, so the challenge names what to exceed at once.
            Content::Hello { from: name, .. } => {
                let floor = self.floor(&name, boot, now);
                self.challenge(from, token, floor, now, None)
            }
            Content::Message { from: name, .. } if !fresh => {
                let floor = self.floor_while_running(&name, boot, now);
                // Two replicas that meet for the first time have no token yet, which is not counted.
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
                    self.superseded_by = self.superseded_by.max(Some(floor));
                }
                Verdict::Done
            }
            Content::Message { from: name, incarnation, part } => {
                if !self.is_new(boot, number, Some((&name, incarnation)), now) {
                    return Verdict::Ignore("replayed");
                }
                if self.floor(&name, boot, now) >= incarnation {
                    let floor = self.floor_while_running(&name, boot, now);
                    return self.challenge(from, token, floor, now, Some("stale-incarnation"));
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
        // The sender's own token, not the one held for its address: it proves that this answers what it sent.
        Verdict::Answer(Datagram { echo, ..answer }, why)
    }

    /// The highest incarnation of `name` known from another start than `boot`; 0 when there is none.
    fn floor(&self, name: &ReplicaId, boot: Boot, now: Timestamp) -> Incarnation {
        let known = self.newest(name, now).filter(|known| known.boot != Some(boot));
        // An incarnation that only peers reported may be this very start.
        let known = known.map_or(Incarnation(0), |known| match known.boot {
            Some(_) => known.incarnation,
            None => Incarnation(known.incarnation.0.saturating_sub(1)),
        });
        if *name == self.me { known.max(self.incarnation) } else { known }
    }

    /// The same for a start that already runs. While a later start of its name lives, the floor is 0: the older one
    /// must not outbid it.
    fn floor_while_running(&self, name: &ReplicaId, boot: Boot, now: Timestamp) -> Incarnation {
        let silent = self.newest(name, now).is_some_and(|known| now.since(known.seen) > SUCCESSOR_SILENCE);
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

    /// Whether `number` of this start is new, under the name and incarnation that it always had.
    fn is_new(&mut self, boot: Boot, number: u64, who: Option<(&ReplicaId, Incarnation)>, now: Timestamp) -> bool {
        if !self.senders.contains_key(&boot) {
            // Only senders that prove no freshness any more may be forgotten: their recordings are stale anyway.
            let lifetime = self.tokens.life();
            if self.senders.len() >= KEPT_MAX {
                self.senders.retain(|_, sender| now.since(sender.received) <= lifetime);
            }
            if self.senders.len() >= KEPT_MAX {
                return false;
            }
        }
        let sender = self.senders.entry(boot).or_insert(Sender { window: Window::default(), received: now, who: None });
        if let Some((name, incarnation)) = who {
            let known = sender.who.get_or_insert_with(|| (name.clone(), incarnation));
            if known.0 != *name || known.1 != incarnation {
                return false;
            }
        }
        sender.received = now;
        sender.window.first_time(number)
    }
}

/// Inserts `value`; the first entry makes room when there are `most` already.
fn keep<K: Ord, V>(map: &mut BTreeMap<K, V>, most: usize, key: K, value: V) {
    if map.len() >= most && !map.contains_key(&key) {
        map.pop_first();
    }
    map.insert(key, value);
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
