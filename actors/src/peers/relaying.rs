//! One follower's part in relaying: whether it follows the origin itself or a relay of its own zone, and the copy that it
//! keeps for others of the zone.
//!
//! Must not know who relays for whom (the core does), nor streams. A relay that fails is avoided for a while, and the
//! origin is followed meanwhile: nothing waits for a relay.

use std::time::Duration;

use murmuration::id::{PoolId, ReplicaId};
use murmuration::replication::fact_log::REMOVED_KEPT;
use murmuration::replication::{Batch, Relay, Route};
use tokio::time::Instant;

use super::copies::{Copies, KeptCopy};
use super::cursor::Cursor;
use crate::clock::Clock;

/// How long a relay is avoided after its first failure; twice as long after each further one, up to the second. Also how
/// long an origin is followed that was asked for history.
const AVOIDED: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// A follower that received nothing for longer gets all facts anew from a relay. The relay may have begun after its
/// origin forgot a removal that the follower missed.
const RESUMED_WITHIN: Duration = REMOVED_KEPT.checked_div(2).expect("two is not zero");

/// The part in relaying of the follower of one origin.
#[derive(Debug)]
pub(super) struct Relaying {
    key: (PoolId, ReplicaId),
    copies: Copies,
    clock: Clock,
    route: Route,
    /// The relay of the current call; `None` while the origin itself is called.
    via: Option<Relay>,
    /// Calls in a row in which the relay failed.
    failures: u32,
    avoided_until: Option<Instant>,
    kept: Option<KeptCopy>,
    /// When something was received last.
    received_at: Instant,
}

// === impl Relaying ===

impl Relaying {
    /// Nothing was followed yet.
    pub(super) fn new(key: (PoolId, ReplicaId), copies: Copies, clock: Clock) -> Self {
        Self {
            key,
            copies,
            clock,
            route: Route::default(),
            via: None,
            failures: 0,
            avoided_until: None,
            kept: None,
            received_at: Instant::now(),
        }
    }

    /// A call begins: the relay to call, or `None` for the origin. Only the origin is asked for `history`. Moves `cursor`
    /// to 0 where all facts must be received anew.
    pub(super) fn begins(&mut self, route: Route, history: bool, cursor: &mut Cursor) -> Option<Relay> {
        let now = Instant::now();
        if history {
            self.avoided_until = Some(now + AVOIDED.0);
        }
        self.avoided_until = self.avoided_until.filter(|until| now < *until);
        self.route = route;
        self.via = self.route.via.clone().filter(|_| self.avoided_until.is_none());
        if self.via.is_some() && now.duration_since(self.received_at) > RESUMED_WITHIN {
            cursor.upto = 0;
        }
        if !self.route.copies {
            self.kept = None;
        } else if !self.kept.as_ref().is_some_and(|kept| kept.is_at(cursor)) {
            cursor.upto = 0;
            self.keep(cursor);
        }
        self.via.clone()
    }

    /// The call is answered, and `cursor` is what it continues from.
    pub(super) fn answered(&mut self, cursor: &Cursor) {
        self.received();
        if self.kept.as_ref().is_some_and(|kept| kept.incarnation() != cursor.incarnation) {
            self.keep(cursor);
        }
    }

    /// Something was received.
    pub(super) fn received(&mut self) {
        self.received_at = Instant::now();
    }

    /// All that was there when the call began was received: others may follow the copy.
    pub(super) fn caught_up(&mut self) {
        self.kept.iter_mut().for_each(KeptCopy::offer);
    }

    /// Takes a batch into the copy. `false` when it does not continue it.
    pub(super) fn take(&self, batch: &Batch) -> bool {
        self.kept.as_ref().is_none_or(|kept| kept.take(batch))
    }

    /// The copy can't be continued; the next call begins another one.
    pub(super) fn drop_copy(&mut self) {
        self.kept = None;
    }

    /// The call lasts.
    pub(super) fn settled(&mut self) {
        if self.via.is_some() {
            self.failures = 0;
        }
    }

    /// The call is over. If it `failed` and was one to a relay, that is avoided for a while, and the result is true: the
    /// origin can be called at once.
    pub(super) fn ended(&mut self, failed: bool) -> bool {
        self.kept.iter_mut().for_each(KeptCopy::withdraw);
        let relay_failed = self.via.take().is_some() && failed;
        if relay_failed {
            let avoided = AVOIDED.0.saturating_mul(1 << self.failures.min(16)).min(AVOIDED.1);
            self.failures = self.failures.saturating_add(1);
            self.avoided_until = Some(Instant::now() + avoided);
        }
        relay_failed
    }

    /// When to call the relay again, while the origin is followed in its place.
    pub(super) fn relay_again_at(&self) -> Option<Instant> {
        self.avoided_until.filter(|_| self.via.is_none() && self.route.via.is_some())
    }

    /// The relay that is called.
    pub(super) fn via(&self) -> Option<ReplicaId> {
        self.via.as_ref().map(|relay| relay.replica.clone())
    }

    fn keep(&mut self, cursor: &Cursor) {
        self.kept = Some(KeptCopy::new(self.key.clone(), cursor.incarnation, self.copies.clone(), self.clock));
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use murmuration::id::Incarnation;
    use murmuration::replication::{Member, ReplicaCard};
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn relayed() -> Route {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        Route { via: Some(Relay { replica: ReplicaId("relay".into()), address }), copies: false }
    }

    fn relaying() -> (Relaying, Cursor) {
        let origin = ReplicaId("origin".into());
        let card = ReplicaCard::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), None, String::new());
        let (incarnation, heads) = (Incarnation(1), Default::default());
        let member = Member { replica: origin.clone(), incarnation, card, head: 0, heads };
        let mut cursor = Cursor::new(&member);
        cursor.upto = 7;
        (Relaying::new((PoolId::default(), origin), Copies::default(), Clock::start()), cursor)
    }

    #[tokio::test(start_paused = true)]
    async fn a_relay_that_fails_is_avoided_for_longer_each_time() {
        let (mut relaying, mut cursor) = relaying();
        for avoided in [2, 4, 8] {
            assert!(relaying.begins(relayed(), false, &mut cursor).is_some());
            assert!(relaying.ended(true));
            assert!(relaying.begins(relayed(), false, &mut cursor).is_none());
            assert_eq!(relaying.relay_again_at(), Some(Instant::now() + SECOND * avoided));
            assert!(!relaying.ended(true), "that was the origin");
            advance(SECOND * avoided).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_received_nothing_for_long_begins_anew_at_a_relay_however_often_it_called() {
        for (seconds, upto) in [(20, 7), (40, 0)] {
            let (mut relaying, mut cursor) = relaying();
            relaying.answered(&cursor);
            for _ in 0..seconds {
                relaying.begins(Route::default(), false, &mut cursor);
                relaying.ended(true);
                advance(SECOND).await;
            }
            assert!(relaying.begins(relayed(), false, &mut cursor).is_some());
            assert_eq!(cursor.upto, upto);
        }
    }
}
