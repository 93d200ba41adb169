//! The layout of one datagram, and its protection: sealed with the tier's keys or, where configured, plain.
//!
//! Must not know sockets or chitchat, or which datagrams are fresh ([`super::sessions`] does). Opening is a pure
//! function of the datagram and the keys.
//!
//! Layout: version byte, sender's boot (16 bytes), its number (8), then the content, sealed and bound to boot, number
//! and tier. A plain datagram has the tier's tag (4 bytes) before its content instead.

use std::sync::{Arc, PoisonError, RwLock};

use murmuration::id::{Incarnation, ReplicaId};
use murmuration::replication::codec::NAME_BYTES_MAX;
use ring::digest::{SHA256, digest};

use super::keyring::{About, BOOT_BYTES, Keyring};

/// The first byte of a datagram of the first release, plain and sealed. Such a datagram proves neither sender nor
/// freshness.
const PLAIN_ONE: u8 = 0;
const SEALED_ONE: u8 = 1;
/// The first byte of a sealed datagram.
const SEALED: u8 = 2;
/// The first byte of a plain one.
const PLAIN: u8 = 3;
/// Bytes that identify the tier in a plain datagram.
const TAG_BYTES: usize = 4;
/// Bytes of a token.
pub(super) const TOKEN_BYTES: usize = 16;

const MESSAGE: u8 = 0;
const CHALLENGE: u8 = 1;
const HELLO: u8 = 2;

/// Identifies one start of a gossip lane: random, so that no two are alike.
pub(super) type Boot = [u8; BOOT_BYTES];
/// Proof of freshness: its issuer can tell that it issued it a short time ago, and to which address. All zero is none.
pub(super) type Token = [u8; TOKEN_BYTES];

/// One datagram, opened. It may be old: its token and its number decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The lane start that sent it.
    pub(super) boot: Boot,
    /// Its number within that start.
    pub(super) number: u64,
    /// The token that the sender holds from the receiver.
    pub(super) echo: Token,
    /// The token that the sender expects back.
    pub(super) token: Token,
    /// Its content.
    pub(super) content: Content,
}

/// The content of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A part of a chitchat message.
    Message { from: ReplicaId, incarnation: Incarnation, part: Vec<u8> },
    /// The answer to a datagram that proved no freshness: a token to return, and the highest incarnation of its
    /// sender's name that this replica remembers. Smaller than anything that it answers.
    Challenge { floor: Incarnation },
    /// The question of a starting replica: it asks for tokens, and whether its incarnation is high enough.
    Hello { from: ReplicaId, incarnation: Incarnation },
}

/// Wraps contents in datagrams of one tier, and opens them.
#[derive(Debug)]
pub(super) struct Envelope {
    tier: String,
    tag: [u8; TAG_BYTES],
    keyring: Option<RwLock<Arc<Keyring>>>,
}

// === impl Envelope ===

impl Envelope {
    /// Most bytes that an envelope adds to a part.
    #[cfg(test)]
    pub(super) const OVERHEAD: usize =
        1 + BOOT_BYTES + 8 + Keyring::OVERHEAD + 1 + 2 * TOKEN_BYTES + 8 + 2 + NAME_BYTES_MAX;

    /// The envelope of `tier`, sealed with `keyring`; plain without keys.
    pub(super) fn new(tier: &str, keyring: Option<Keyring>) -> Self {
        // Not a secret: it only keeps two plain tiers that share a network from answering each other.
        let tag = digest(&SHA256, tier.as_bytes()).as_ref().first_chunk().copied().unwrap_or_default();
        Self { tier: tier.to_owned(), tag, keyring: keyring.map(|keyring| RwLock::new(Arc::new(keyring))) }
    }

    /// Puts other keys in force.
    pub(super) fn replace(&self, keyring: Keyring) {
        if let Some(held) = &self.keyring {
            *held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keyring);
        }
    }

    /// The bytes of `datagram`; `None` when it can't be sealed.
    pub(super) fn wrap(&self, datagram: &Datagram) -> Option<Vec<u8>> {
        let inner = datagram.inner();
        let mut out = Vec::with_capacity(inner.len() + 64);
        let keyring = self.keyring();
        out.push(if keyring.is_some() { SEALED } else { PLAIN });
        out.extend_from_slice(&datagram.boot);
        out.extend_from_slice(&datagram.number.to_le_bytes());
        match keyring {
            Some(keyring) => keyring.seal(&self.about(&datagram.boot), datagram.number, &inner, &mut out)?,
            None => {
                out.extend_from_slice(&self.tag);
                out.extend_from_slice(&inner);
            }
        }
        Some(out)
    }

    /// The datagram in `bytes`; `None` when it is of another tier or kind, or can't be opened.
    pub(super) fn open(&self, bytes: &[u8]) -> Option<Datagram> {
        let (kind, rest) = bytes.split_first()?;
        let (boot, rest) = rest.split_first_chunk::<BOOT_BYTES>()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let number = u64::from_le_bytes(*number);
        let inner = match (self.keyring(), *kind) {
            (Some(keyring), SEALED) => keyring.open(&self.about(boot), number, rest)?,
            (None, PLAIN) => rest.strip_prefix(&self.tag)?.to_vec(),
            _ => return None,
        };
        Datagram::read(*boot, number, &inner)
    }

    /// Wraps `part` as the first release does, under the random `nonce`.
    pub(super) fn wrap_version_one(&self, nonce: [u8; 12], part: &[u8]) -> Option<Vec<u8>> {
        match self.keyring() {
            Some(keyring) => {
                let mut out = vec![SEALED_ONE];
                keyring.seal_version_one(self.tier.as_bytes(), nonce, part, &mut out)?;
                Some(out)
            }
            None => Some([&[PLAIN_ONE], self.tag.as_slice(), part].concat()),
        }
    }

    /// The part in a datagram of the first release.
    pub(super) fn open_version_one(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (kind, inner) = bytes.split_first()?;
        match (self.keyring(), *kind) {
            (Some(keyring), SEALED_ONE) => keyring.open_version_one(self.tier.as_bytes(), inner),
            (None, PLAIN_ONE) => inner.strip_prefix(&self.tag).map(<[u8]>::to_vec),
            _ => None,
        }
    }

    fn about<'a>(&'a self, boot: &'a Boot) -> About<'a> {
        About { tier: &self.tier, boot }
    }

    fn keyring(&self) -> Option<Arc<Keyring>> {
        let held = self.keyring.as_ref()?;
        Some(held.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Whether `bytes` claim to be a datagram of the first release.
pub(super) fn is_version_one(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(&(PLAIN_ONE | SEALED_ONE)))
}

// === impl Datagram ===

impl Datagram {
    fn inner(&self) -> Vec<u8> {
        let (kind, rest) = match &self.content {
            Content::Message { from, incarnation, part } => {
                (MESSAGE, [encode_sender(from, *incarnation), part.clone()].concat())
            }
            Content::Challenge { floor } => (CHALLENGE, floor.0.to_le_bytes().to_vec()),
            // Larger than its answer, a challenge.
            Content::Hello { from, incarnation } => (HELLO, encode_sender(from, *incarnation)),
        };
        [&[kind], self.echo.as_slice(), self.token.as_slice(), &rest].concat()
    }

    fn read(boot: Boot, number: u64, inner: &[u8]) -> Option<Self> {
        let (kind, rest) = inner.split_first()?;
        let (echo, rest) = rest.split_first_chunk::<TOKEN_BYTES>()?;
        let (token, rest) = rest.split_first_chunk::<TOKEN_BYTES>()?;
        let content = match *kind {
            MESSAGE => {
                let (from, incarnation, part) = decode_sender(rest)?;
                Content::Message { from, incarnation, part: part.to_vec() }
            }
            CHALLENGE => Content::Challenge { floor: Incarnation(u64::from_le_bytes(rest.try_into().ok()?)) },
            HELLO => {
                let (from, incarnation, _) = decode_sender(rest)?;
                Content::Hello { from, incarnation }
            }
            _ => return None,
        };
        Some(Self { boot, number, echo: *echo, token: *token, content })
    }
}

fn encode_sender(from: &ReplicaId, incarnation: Incarnation) -> Vec<u8> {
    // The length is checked when the lane starts; every receiver would refuse a longer name.
    let length = u16::try_from(from.0.len()).unwrap_or(u16::MAX);
    [&incarnation.0.to_le_bytes(), &length.to_le_bytes()[..], from.0.as_bytes()].concat()
}

fn decode_sender(bytes: &[u8]) -> Option<(ReplicaId, Incarnation, &[u8])> {
    let (incarnation, rest) = bytes.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_le_bytes(*length));
    if length == 0 || length > NAME_BYTES_MAX {
        return None;
    }
    let (name, rest) = rest.split_at_checked(length)?;
    let name = std::str::from_utf8(name).ok()?;
    Some((ReplicaId(name.to_owned()), Incarnation(u64::from_le_bytes(*incarnation)), rest))
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    fn sealed(tier: &str) -> Envelope {
        Envelope::new(tier, Keyring::parse(&STANDARD.encode([7; 32])).ok())
    }

    fn contents() -> impl Strategy<Value = Content> {
        let name = || "[a-z0-9:-]{1,40}".prop_map(ReplicaId);
        let part = proptest::collection::vec(any::<u8>(), 0..100);
        prop_oneof![
            (name(), any::<u64>(), part).prop_map(|(from, incarnation, part)| Content::Message {
                from,
                incarnation: Incarnation(incarnation),
                part
            }),
            any::<u64>().prop_map(|floor| Content::Challenge { floor: Incarnation(floor) }),
            (name(), any::<u64>())
                .prop_map(|(from, incarnation)| Content::Hello { from, incarnation: Incarnation(incarnation) }),
        ]
    }

    fn datagrams() -> impl Strategy<Value = Datagram> {
        (any::<Boot>(), any::<u64>(), any::<Token>(), any::<Token>(), contents())
            .prop_map(|(boot, number, echo, token, content)| Datagram { boot, number, echo, token, content })
    }

    fn message(name: &str, part: &[u8]) -> Datagram {
        let content =
            Content::Message { from: ReplicaId(name.into()), incarnation: Incarnation(1), part: part.to_vec() };
        Datagram { boot: [1; 16], number: 2, echo: [3; 16], token: [4; 16], content }
    }

    proptest! {
        #[test]
        fn a_wrapped_datagram_opens_unless_it_was_changed(datagram in datagrams(), at in any::<prop::sample::Index>()) {
            for envelope in [sealed("a"), Envelope::new("a", None)] {
                let bytes = envelope.wrap(&datagram).expect("a key");
                prop_assert_eq!(envelope.open(&bytes), Some(datagram.clone()));
                let (mut changed, at) = (bytes.clone(), at.index(bytes.len()));
                changed[at] ^= 1;
                prop_assert_ne!(envelope.open(&changed), Some(datagram.clone()));
            }
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for envelope in [sealed("a"), Envelope::new("a", None)] {
                let _ = envelope.open(&bytes);
                let _ = envelope.open_version_one(&bytes);
            }
        }

        /// An address that proved nothing gets no more bytes than it sent.
        #[test]
        fn a_challenge_is_never_larger_than_what_it_answers(name in "[a-z]{1,9}") {
            for envelope in [sealed("a"), Envelope::new("a", None)] {
                let of = |content| Datagram { content, ..message("b", b"") };
                let size = |content| envelope.wrap(&of(content)).expect("a key").len();
                let from = ReplicaId(name.clone());
                let challenge = size(Content::Challenge { floor: Incarnation(u64::MAX) });
                let hello = size(Content::Hello { from: from.clone(), incarnation: Incarnation(1) });
                let message = size(Content::Message { from, incarnation: Incarnation(1), part: Vec::new() });
                prop_assert!(challenge <= hello && challenge <= message);
            }
        }
    }

    #[test]
    fn the_largest_part_of_the_longest_name_fits_a_datagram() {
        let datagram = message(&"n".repeat(NAME_BYTES_MAX), &vec![0; super::super::parts::PART_BYTES_MAX]);
        for envelope in [sealed("a"), Envelope::new("a", None)] {
            let bytes = envelope.wrap(&datagram).expect("a key");
            assert!(bytes.len() <= super::super::parts::PART_BYTES_MAX + Envelope::OVERHEAD && bytes.len() <= 65_487);
        }
    }

    #[test]
    fn datagrams_of_another_tier_or_seal_do_not_open() {
        let wrap = |envelope: Envelope| envelope.wrap(&message("b", b"word")).expect("a key");
        assert_eq!(sealed("a").open(&wrap(sealed("b"))), None);
        assert_eq!(sealed("a").open(&wrap(Envelope::new("a", None))), None);
        assert_eq!(Envelope::new("a", None).open(&wrap(sealed("a"))), None);
        assert_eq!(Envelope::new("a", None).open(&wrap(Envelope::new("b", None))), None);
        assert_eq!(sealed("a").open(&[]), None);
    }

    #[test]
    fn first_release_datagrams_are_recognised_and_opened_only_as_such() {
        for envelope in [sealed("a"), Envelope::new("a", None)] {
            let bytes = envelope.wrap_version_one([5; 12], b"word").expect("a key");
            assert!(is_version_one(&bytes));
            assert_eq!(envelope.open(&bytes), None);
            assert_eq!(envelope.open_version_one(&bytes).as_deref(), Some(&b"word"[..]));
            let newer = envelope.wrap(&message("b", b"word")).expect("a key");
            assert!(!is_version_one(&newer) && envelope.open_version_one(&newer).is_none());
        }
    }
}
