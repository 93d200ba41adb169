//! Session bindings: which endpoint serves which session. Each has a time to live, and the newest of a session wins.
//!
//! Must not know headers, requests or plugins. A binding is made by the replica whose request got its first token, and
//! published to all peers. The newest wins and ties are ordered. So replicas that received the same bindings hold the
//! same ones, in whatever order they arrived.
//!
//! Tenants share the table: when it is full, the tenant that holds most loses its oldest binding. So a tenant that
//! makes up sessions without end evicts its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::{EndpointKey, SessionKey};
use crate::time::Timestamp;

/// Bindings that are kept, about 10 MiB; beyond that the oldest of the largest tenant is forgotten.
pub const BINDINGS_MAX: usize = 65_536;
/// How long a binding lives after its last use, unless the configuration sets it.
pub const TTL_DEFAULT: Duration = Duration::from_secs(300);
/// A used binding is published again once its time to live, divided by this, has passed. So what peers hold expires a
/// little early at most.
const REPUBLISH_DIVISOR: u32 = 8;

/// The bindings.
#[derive(Debug)]
pub struct Sessions {
    bindings: BTreeMap<SessionKey, Binding>,
    /// Oldest first.
    by_age: BTreeSet<(Moment, SessionKey)>,
    /// Oldest first, for each tenant.
    by_tenant: BTreeMap<u16, BTreeSet<(Moment, SessionKey)>>,
    /// The number of bindings of each tenant, the largest last.
    sizes: BTreeSet<(usize, u16)>,
    ttl: Duration,
}

/// One session's endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Binding {
    endpoint: EndpointKey,
    used: Moment,
    /// When it was last published to peers, or received from one.
    published: Moment,
}

/// A [`Timestamp`] in microseconds that may lie before this replica's start: a joining replica receives older bindings.
type Moment = i64;

// === impl Sessions ===

impl Sessions {
    /// No session bindings yet. Bindings live for `ttl`.
    pub fn new(ttl: Duration) -> Self {
        let (bindings, by_tenant) = (BTreeMap::new(), BTreeMap::new());
        Self { bindings, by_age: BTreeSet::new(), by_tenant, sizes: BTreeSet::new(), ttl }
    }

    /// The endpoint that serves `session` at `now`.
    pub fn find(&self, session: SessionKey, now: Timestamp) -> Option<EndpointKey> {
        let expired = moment(now, self.ttl);
        self.bindings.get(&session).filter(|binding| binding.used > expired).map(|binding| binding.endpoint)
    }

    /// Binds `session` to `endpoint` from `now` on; `true` when the binding should be published.
    pub fn bind(&mut self, session: SessionKey, endpoint: EndpointKey, now: Timestamp) -> bool {
        let known = self.bindings.get(&session).filter(|binding| binding.endpoint == endpoint);
        let (recently, used) = (moment(now, self.ttl / REPUBLISH_DIVISOR), moment(now, Duration::ZERO));
        let published = known.map(|binding| binding.published).filter(|published| *published > recently);
        self.put(session, Binding { endpoint, used, published: published.unwrap_or(used) });
        self.expire(now);
        published.is_none()
    }

    /// Records that a peer bound `session` to `endpoint` the time `age` ago.
    pub fn receive(&mut self, session: SessionKey, endpoint: EndpointKey, age: Duration, now: Timestamp) {
        let (known, used) = (self.bindings.get(&session), moment(now, age));
        if known.is_none_or(|known| (known.used, known.endpoint) < (used, endpoint)) {
            self.put(session, Binding { endpoint, used, published: used });
        }
        self.expire(now);
    }

    /// Drops expired bindings, and those beyond the bound.
    pub fn expire(&mut self, now: Timestamp) {
        let expired = moment(now, self.ttl);
        while let Some(&(used, session)) = self.by_age.first()
            && used <= expired
        {
            self.remove(used, session);
        }
        while self.bindings.len() > BINDINGS_MAX
            && let Some((used, session)) = self.oldest_of_the_largest()
        {
            self.remove(used, session);
        }
    }

    /// The newest `most` bindings, oldest first, each with the time since its last use.
    pub fn newest(&self, most: usize, now: Timestamp) -> Vec<(SessionKey, EndpointKey, Duration)> {
        let (newest, now) = (self.by_age.iter().rev().take(most), moment(now, Duration::ZERO));
        let with_age = |(used, session): &(Moment, SessionKey)| {
            let age = Duration::from_micros(now.abs_diff(*used.min(&now)));
            self.bindings.get(session).map(|binding| (*session, binding.endpoint, age))
        };
        let mut newest: Vec<_> = newest.filter_map(with_age).collect();
        newest.reverse();
        newest
    }

    /// The number of bindings.
    pub fn len(&self) -> usize {
        self.bindings.len()
    }

    /// Whether there are no bindings.
    pub fn is_empty(&self) -> bool {
        self.bindings.is_empty()
    }

    fn put(&mut self, session: SessionKey, binding: Binding) {
        if let Some(older) = self.bindings.get(&session).map(|older| older.used) {
            self.remove(older, session);
        }
        self.bindings.insert(session, binding);
        self.by_age.insert((binding.used, session));
        let of = self.by_tenant.entry(session.tenant()).or_default();
        self.sizes.remove(&(of.len(), session.tenant()));
        of.insert((binding.used, session));
        self.sizes.insert((of.len(), session.tenant()));
    }

    fn remove(&mut self, used: Moment, session: SessionKey) {
        self.bindings.remove(&session);
        self.by_age.remove(&(used, session));
        let tenant = session.tenant();
        let Some(of) = self.by_tenant.get_mut(&tenant) else { return };
        self.sizes.remove(&(of.len(), tenant));
        of.remove(&(used, session));
        match of.len() {
            0 => drop(self.by_tenant.remove(&tenant)),
            left => drop(self.sizes.insert((left, tenant))),
        }
    }

    fn oldest_of_the_largest(&self) -> Option<(Moment, SessionKey)> {
        let (_, tenant) = self.sizes.last()?;
        self.by_tenant.get(tenant)?.first().copied()
    }
}

/// The moment `ago` before `now`.
fn moment(now: Timestamp, ago: Duration) -> Moment {
    let micros = |micros: u128| i64::try_from(micros).unwrap_or(i64::MAX);
    micros(now.since(Timestamp::ZERO).as_micros()).saturating_sub(micros(ago.as_micros()))
}

#[cfg(test)]
mod tests;
