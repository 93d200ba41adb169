//! What every datagram is put into: a version byte, then either a sealed content or, where that was said, a plain one.
//!
//! Must not know sockets or chitchat.

use std::sync::{Arc, PoisonError, RwLock};

use ring::digest::{SHA256, digest};

use super::keyring::Keyring;

/// The first byte of a plain datagram.
const PLAIN: u8 = 0;
/// The first byte of a sealed one.
const SEALED: u8 = 1;
/// Bytes that name the tier in a plain datagram.
const TAG_BYTES: usize = 4;

/// Puts contents into datagrams of one tier, and takes them out again.
#[derive(Debug)]
pub(super) struct Envelope {
    tier: String,
    tag: [u8; TAG_BYTES],
    keyring: Option<RwLock<Arc<Keyring>>>,
}

// === impl Envelope ===

impl Envelope {
    /// Bytes that an envelope adds at most.
    pub(super) const OVERHEAD: usize = 1 + Keyring::OVERHEAD;

    /// The envelope of `tier`, sealed by `keyring`; plain without.
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

    /// The datagram for `content`; `None` when the system has no randomness.
    pub(super) fn wrap(&self, content: &[u8]) -> Option<Vec<u8>> {
        let mut datagram = Vec::with_capacity(content.len() + Self::OVERHEAD);
        match self.keyring() {
            Some(keyring) => {
                datagram.push(SEALED);
                keyring.seal(self.tier.as_bytes(), content, &mut datagram)?;
            }
            None => {
                datagram.push(PLAIN);
                datagram.extend_from_slice(&self.tag);
                datagram.extend_from_slice(content);
            }
        }
        Some(datagram)
    }

    /// The content of `datagram`; `None` when it is not of this tier, or not of its kind.
    pub(super) fn open(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        let (kind, inner) = datagram.split_first()?;
        match (self.keyring(), *kind) {
            (Some(keyring), SEALED) => keyring.open(self.tier.as_bytes(), inner),
            (None, PLAIN) => inner.strip_prefix(&self.tag).map(<[u8]>::to_vec),
            _ => None,
        }
    }

    fn keyring(&self) -> Option<Arc<Keyring>> {
        let held = self.keyring.as_ref()?;
        Some(held.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn sealed(tier: &str) -> Envelope {
        Envelope::new(tier, Keyring::parse(&STANDARD.encode([7; 32])).ok())
    }

    #[test]
    fn a_content_comes_out_as_it_went_in() {
        for envelope in [sealed("a"), Envelope::new("a", None)] {
            let datagram = envelope.wrap(b"word").expect("randomness");
            assert!(datagram.len() <= 4 + Envelope::OVERHEAD);
            assert_eq!(envelope.open(&datagram).as_deref(), Some(&b"word"[..]));
        }
    }

    #[test]
    fn neither_another_tier_nor_a_plain_word_gets_into_a_sealed_one() {
        let wrap = |envelope: Envelope| envelope.wrap(b"word").expect("randomness");
        assert_eq!(sealed("a").open(&wrap(sealed("b"))), None);
        assert_eq!(sealed("a").open(&wrap(Envelope::new("a", None))), None);
        assert_eq!(Envelope::new("a", None).open(&wrap(sealed("a"))), None);
        assert_eq!(Envelope::new("a", None).open(&wrap(Envelope::new("b", None))), None);
        assert_eq!(sealed("a").open(&[]), None);
    }
}
