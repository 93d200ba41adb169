//! Identifiers, each with its own type so that one can't be passed for another.
//!
//! Must not know where an identifier comes from: Kubernetes, a file, a header or a test.

use std::fmt;
use std::hash::Hasher as _;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use xxhash_rust::xxh3::xxh3_64;

/// One serving address of the pool: `namespace/name`, unique in the pool and the same on every replica.
///
/// Each data-parallel rank is a separate endpoint (`namespace/pod-rank-1`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EndpointId(String);

/// One replica of the tier, by its unique name (in Kubernetes the pod's).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReplicaId(pub String);

/// One pool of endpoints, by its name. Pools of one replica share nothing but the process.
///
/// A name has 1 to [`PoolId::BYTES_MAX`] bytes: lower-case letters, digits, `-` and `.`, the first and the last a
/// letter or a digit. So it can stand in a path and in a metric's label, and the name of any InferencePool is one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(Arc<str>);

/// Why a text can't name a pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPoolName {
    /// It is empty or too long.
    #[error("a pool's name of {0} bytes; it has 1 to {max}", max = PoolId::BYTES_MAX)]
    Length(usize),
    /// It has a character that it can't have, or begins or ends with `-` or `.`.
    #[error("{0:?} is no pool's name; write lower-case letters, digits, and `-` or `.` between them")]
    Characters(String),
}

/// One start of a replica: higher with each later start. Facts of an older incarnation never overwrite newer ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

/// An endpoint's identifier in messages between replicas: [`EndpointId::key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EndpointKey(pub u64);

/// One open request of this replica. It is never derived from a header, so two requests with the same `x-request-id`
/// have two tickets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// One client's session: a salted hash of the client's name for it. The upper 16 bits identify the client's tenant, so
/// every replica can attribute the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub u64);

/// Bits of a session's key that identify its tenant.
const TENANT_BITS: u32 = 16;

/// Hash of one block of a prompt, chained: it covers the block's content *and everything before it*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockHash(pub u64);

/// The index of an endpoint in this replica's columns. Dense, reused after the endpoint is gone, and meaningless to
/// other replicas: never send it, print it or sort by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

/// The canonical form of an address: an IPv4 address written as IPv6 (`::ffff:10.0.0.1`) becomes the IPv4 address.
/// Addresses are compared in many places, so every address from outside must pass through here.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A plugin of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PluginName {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: &'static str,
}

// === impl EndpointId ===

impl EndpointId {
    /// An id from `namespace` and `name`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self(format!("{namespace}/{name}"))
    }

    /// The whole id, `namespace/name`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first `/`; empty when there is none.
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// The part after the first `/`.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(self.0.as_str(), |(_, name)| name)
    }

    /// A 64-bit key that every replica derives the same way. It is the input of rendezvous hashing and the endpoint's
    /// identifier between replicas.
    pub fn key(&self) -> EndpointKey {
        EndpointKey(xxh3_64(self.0.as_bytes()))
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ReplicaId {
    /// A 64-bit key that every replica derives the same way: the input of rendezvous hashing.
    pub fn key(&self) -> u64 {
        xxh3_64(self.0.as_bytes())
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PoolId {
    /// Bytes of a name at most, as of a Kubernetes object.
    pub const BYTES_MAX: usize = 253;
    /// The name of the default pool: the one that a replica serves that was given none by name, and the one that
    /// batches of wire versions 1 to 3 belong to.
    pub const DEFAULT: &'static str = "default";

    /// The pool called `name`.
    ///
    /// # Errors
    /// See [`InvalidPoolName`].
    pub fn new(name: &str) -> Result<Self, InvalidPoolName> {
        if !(1..=Self::BYTES_MAX).contains(&name.len()) {
            return Err(InvalidPoolName::Length(name.len()));
        }
        let is_inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
        let is_outer = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        let (first, last) = (name.bytes().next(), name.bytes().next_back());
        if !name.bytes().all(is_inner) || !is_outer(first) || !is_outer(last) {
            return Err(InvalidPoolName::Characters(name.to_owned()));
        }
        Ok(Self(name.into()))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the default pool.
    pub fn is_default(&self) -> bool {
        *self.0 == *Self::DEFAULT
    }
}

impl Default for PoolId {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

impl fmt::Display for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl SessionKey {
    /// The key of the session that `tenant` calls `name`, in a tier with this salt. Every replica of the tier derives
    /// the same key. The same name used by two tenants gives two sessions.
    pub fn of(tenant: &str, name: &str, tier_salt: u128) -> Self {
        let keyed = |purpose: u8, parts: &[&[u8]]| {
            let mut hasher = SipHasher13::new_with_keys(tier_salt as u64, (tier_salt >> 64) as u64);
            // The first byte separates hashes made for different purposes.
            hasher.write(&[purpose]);
            parts.iter().for_each(|part| hasher.write(part));
            hasher.finish()
        };
        let group = keyed(b'g', &[tenant.as_bytes()]);
        let name = keyed(b's', &[&(tenant.len() as u64).to_le_bytes(), tenant.as_bytes(), name.as_bytes()]);
        Self(group & !(u64::MAX >> TENANT_BITS) | name >> TENANT_BITS)
    }

    /// The 16-bit hash of the session's tenant. Few tenants share a value.
    pub fn tenant(self) -> u16 {
        (self.0 >> (u64::BITS - TENANT_BITS)) as u16
    }
}

impl Slot {
    /// The slot as a column index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_returns_its_parts() {
        let id = EndpointId::new("prod", "vllm-0-rank-1");
        assert_eq!((id.namespace(), id.name()), ("prod", "vllm-0-rank-1"));
        assert_eq!(id.to_string(), "prod/vllm-0-rank-1");
    }

    #[test]
    fn a_pools_name_is_checked() {
        for name in ["a", "default", "llama-3.1-8b", "0", &"x".repeat(PoolId::BYTES_MAX)] {
            assert_eq!(PoolId::new(name).map(|pool| pool.to_string()), Ok(name.to_owned()));
        }
        for name in ["-a", "a-", ".a", "A", "a/b", "a b", "\u{e9}", "a\n"] {
            assert_eq!(PoolId::new(name), Err(InvalidPoolName::Characters(name.to_owned())), "{name:?}");
        }
        for bytes in [0, PoolId::BYTES_MAX + 1] {
            assert_eq!(PoolId::new(&"x".repeat(bytes)), Err(InvalidPoolName::Length(bytes)));
        }
        assert!(PoolId::default().is_default() && PoolId::new(PoolId::DEFAULT) == Ok(PoolId::default()));
    }

    #[test]
    fn a_session_key_carries_its_tenant_and_differs_between_tenants() {
        let (one, two) = (SessionKey::of("a", "s1", 7), SessionKey::of("a", "s2", 7));
        assert!(one != two && one.tenant() == two.tenant());
        let others = SessionKey::of("b", "s1", 7);
        assert_ne!((others.tenant(), others.0 << 16), (one.tenant(), one.0 << 16));
        assert_ne!(SessionKey::of("a", "s1", 8), one, "the tier's salt counts");
    }

    #[test]
    fn an_address_has_one_canonical_form() {
        let one = |text: &str| text.parse().map(canonical).map(|address| address.to_string());
        assert_eq!(one("[::ffff:10.0.0.1]:80"), Ok("10.0.0.1:80".to_owned()));
        assert_eq!(one("[fd00::1]:80"), Ok("[fd00::1]:80".to_owned()));
    }

    #[test]
    fn keys_of_two_ids_differ_and_are_stable() {
        assert_ne!(EndpointId::new("a", "b").key(), EndpointId::new("a", "c").key());
        // Pinned because replicas of two versions must agree on it.
        assert_eq!(EndpointId::new("default", "vllm-0").key().0, xxh3_64(b"default/vllm-0"));
    }
}
