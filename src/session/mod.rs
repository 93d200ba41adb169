//! Which endpoint serves which session: bindings with a time to live, the newest of each session.
//!
//! Must not know headers, requests or plugins. A binding is made by the replica whose request got its first token, and
//! told to all; since the newest wins and equals are ordered, replicas that heard the same hold the same, in whatever order
//! they heard it.
//!
//! The table is shared by tenants: when it is full, the tenant that holds most gives way with its oldest binding. So a
//! tenant that makes up sessions without end pushes out its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::{EndpointKey, SessionKey};
use crate::time::Timestamp;

/// Bindings that are kept, about 10 MiB; beyond that the oldest of the tenant that has most is forgotten.
pub const BINDINGS_MAX: usize = 65_536;
/// How long a binding lives after it was used last, where the configuration does not say.
pub const TTL_DEFAULT: Duration = Duration::from_secs(300);
/// A binding that is used on is told again when this share of its life is over: what peers hold ends a little early at most.
const TOLD_AGAIN: u32 = 8;

/// The bindings.
#[derive(Debug)]
pub struct Sessions {
    bindings: BTreeMap<SessionKey, Binding>,
    /// Oldest first.
    by_age: BTreeSet<(Moment, SessionKey)>,
    /// Oldest first, of each tenant.
    by_tenant: BTreeMap<u16, BTreeSet<(Moment, SessionKey)>>,
    /// How many each tenant has, the one that has most last.
    sizes: BTreeSet<(usize, u16)>,
    ttl: Duration,
}

/// One session's endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Binding {
    endpoint: EndpointKey,
    used: Moment,
    /// When peers were told, or told it.
    told: Moment,
}

/// A [`Timestamp`] in microseconds that may lie before this replica's start: one that joins hears of bindings older than itself.
type Moment = i64;

// === impl Sessions ===

impl Sessions {
    /// Nobody is bound. Bindings live for `ttl`.
    pub fn new(ttl: Duration) -> Self {
        let (bindings, by_tenant) = (BTreeMap::new(), BTreeMap::new());
        Self { bindings, by_age: BTreeSet::new(), by_tenant, sizes: BTreeSet::new(), ttl }
    }

    /// Who serves `session` at `now`.
    pub fn find(&self, session: SessionKey, now: Timestamp) -> Option<EndpointKey> {
        let over = moment(now, self.ttl);
        self.bindings.get(&session).filter(|binding| binding.used > over).map(|binding| binding.endpoint)
    }

    /// `session` is served by `endpoint` from `now` on; `true` when peers should be told.
    pub fn bind(&mut self, session: SessionKey, endpoint: EndpointKey, now: Timestamp) -> bool {
        let known = self.bindings.get(&session).filter(|binding| binding.endpoint == endpoint);
        let (recently, used) = (moment(now, self.ttl / TOLD_AGAIN), moment(now, Duration::ZERO));
        let told = known.map(|binding| binding.told).filter(|told| *told > recently);
        self.put(session, Binding { endpoint, used, told: told.unwrap_or(used) });
        self.expire(now);
        told.is_none()
    }

    /// A peer bound `session` so long ago.
    pub fn heard(&mut self, session: SessionKey, endpoint: EndpointKey, age: Duration, now: Timestamp) {
        let (known, used) = (self.bindings.get(&session), moment(now, age));
        if known.is_none_or(|known| (known.used, known.endpoint) < (used, endpoint)) {
            self.put(session, Binding { endpoint, used, told: used });
        }
        self.expire(now);
    }

    /// Forgets what is over.
    pub fn expire(&mut self, now: Timestamp) {
        let over = moment(now, self.ttl);
        while let Some(&(used, session)) = self.by_age.first()
            && used <= over
        {
            self.remove(used, session);
        }
        while self.bindings.len() > BINDINGS_MAX
            && let Some((used, session)) = self.oldest_of_the_largest()
        {
            self.remove(used, session);
        }
    }

    /// The newest `most` bindings, oldest first, each with how long ago it was used.
    pub fn newest(&self, most: usize, now: Timestamp) -> Vec<(SessionKey, EndpointKey, Duration)> {
        let (newest, now) = (self.by_age.iter().rev().take(most), moment(now, Duration::ZERO));
        let told = |(used, session): &(Moment, SessionKey)| {
            let age = Duration::from_micros(now.abs_diff(*used.min(&now)));
            self.bindings.get(session).map(|binding| (*session, binding.endpoint, age))
        };
        let mut newest: Vec<_> = newest.filter_map(told).collect();
        newest.reverse();
        newest
    }

    /// How many are bound.
    pub fn len(&self) -> usize {
        self.bindings.len()
    }

    /// Whether nobody is.
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

/// So long before `now`.
fn moment(now: Timestamp, ago: Duration) -> Moment {
    let micros = |micros: u128| i64::try_from(micros).unwrap_or(i64::MAX);
    micros(now.since(Timestamp::ZERO).as_micros()).saturating_sub(micros(ago.as_micros()))
}

#[cfg(test)]
mod tests;
