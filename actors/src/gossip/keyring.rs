//! The tier's shared keys: the first seals, all open.
//!
//! Must not know files, sockets or what is sealed. A key is replaced in three steps without a stop: the new one as second
//! line everywhere, then as first, then alone.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

/// Keys in force at once: more than two are no rotation.
const KEYS_MAX: usize = 2;
/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Bytes that name a key.
const ID_BYTES: usize = 4;

/// Why a key file holds no keys. No part of a key is ever told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The file can't be read.
    #[error("can't read the gossip keys in {path}: {why}; make them with `openssl rand -base64 32`")]
    Read {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// Not one or two lines.
    #[error("{0} gossip keys; one is needed, and a second may be there while keys are replaced")]
    Count(usize),
    /// Not a key.
    #[error("line {0} of the gossip keys is not 32 bytes in base64; make one with `openssl rand -base64 32`")]
    Line(usize),
}

/// The keys in force.
pub(super) struct Keyring {
    keys: Vec<Key>,
    dice: SystemRandom,
}

struct Key {
    id: [u8; ID_BYTES],
    key: LessSafeKey,
}

// === impl Keyring ===

impl Keyring {
    /// Bytes that sealing adds.
    pub(super) const OVERHEAD: usize = ID_BYTES + NONCE_LEN + 16;

    /// Reads one or two lines of base64.
    pub(super) fn parse(text: &str) -> Result<Self, KeyError> {
        let lines: Vec<(usize, &str)> =
            text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty()).collect();
        if lines.is_empty() || lines.len() > KEYS_MAX {
            return Err(KeyError::Count(lines.len()));
        }
        let key = |(at, line): (usize, &str)| Key::parse(line).ok_or(KeyError::Line(at + 1));
        Ok(Self { keys: lines.into_iter().map(key).collect::<Result<_, _>>()?, dice: SystemRandom::new() })
    }

    /// Appends `plain`, sealed by the first key and bound to `about`, to `out`. `None` when the system has no randomness.
    pub(super) fn seal(&self, about: &[u8], plain: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let key = self.keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        self.dice.fill(&mut nonce).ok()?;
        out.extend_from_slice(&key.id);
        out.extend_from_slice(&nonce);
        let start = out.len();
        out.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.key.seal_in_place_separate_tag(nonce, Aad::from(about), &mut out[start..]).ok()?;
        out.extend_from_slice(tag.as_ref());
        Some(())
    }

    /// What was sealed by any of the keys and bound to `about`.
    pub(super) fn open(&self, about: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (id, sealed) = sealed.split_first_chunk::<ID_BYTES>()?;
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        self.keys.iter().filter(|key| key.id == *id).find_map(|key| {
            let mut opened = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let length = key.key.open_in_place(nonce, Aad::from(about), &mut opened).ok()?.len();
            opened.truncate(length);
            Some(opened)
        })
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

// === impl Key ===

impl Key {
    fn parse(line: &str) -> Option<Self> {
        let bytes: [u8; KEY_BYTES] = STANDARD.decode(line).ok()?.try_into().ok()?;
        let id = *digest(&SHA256, &bytes).as_ref().first_chunk()?;
        Some(Self { id, key: LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &bytes).ok()?) })
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    fn line(byte: u8) -> String {
        STANDARD.encode([byte; KEY_BYTES])
    }

    fn keyring(lines: &[u8]) -> Keyring {
        let lines: Vec<String> = lines.iter().map(|byte| line(*byte)).collect();
        Keyring::parse(&lines.join("\n")).expect("keys")
    }

    fn sealed(keyring: &Keyring) -> Vec<u8> {
        let mut out = Vec::new();
        keyring.seal(b"tier", b"word", &mut out).expect("randomness");
        out
    }

    #[test]
    fn both_keys_open_and_the_first_seals() {
        let (old, both, new) = (keyring(&[1]), keyring(&[2, 1]), keyring(&[2]));
        assert_eq!(both.open(b"tier", &sealed(&old)).as_deref(), Some(&b"word"[..]));
        assert_eq!(new.open(b"tier", &sealed(&both)).as_deref(), Some(&b"word"[..]));
        assert_eq!(old.open(b"tier", &sealed(&both)), None);
        assert_eq!(sealed(&old).len(), b"word".len() + Keyring::OVERHEAD);
    }

    #[test]
    fn another_tier_and_every_changed_or_missing_byte_stay_closed() {
        let keyring = keyring(&[1]);
        let whole = sealed(&keyring);
        assert_eq!(keyring.open(b"another", &whole), None);
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_eq!(keyring.open(b"tier", &changed), None, "byte {at}");
            assert_eq!(keyring.open(b"tier", &whole[..at]), None, "{at} bytes");
        }
    }

    #[test]
    fn the_same_word_is_never_sealed_alike() {
        let keyring = keyring(&[1]);
        assert_ne!(sealed(&keyring), sealed(&keyring));
    }

    #[test]
    fn what_is_no_key_file_is_refused_with_its_line_and_nothing_of_its_content() {
        assert_eq!(Keyring::parse(" \n\n").err(), Some(KeyError::Count(0)));
        assert_eq!(Keyring::parse(&[line(1), line(2), line(3)].join("\n")).err(), Some(KeyError::Count(3)));
        assert_eq!(Keyring::parse(&format!("{}\nsecret", line(1))).err(), Some(KeyError::Line(2)));
        assert_eq!(Keyring::parse(&STANDARD.encode([1; 31])).err(), Some(KeyError::Line(1)));
        assert!(!KeyError::Line(2).to_string().contains("secret"));
        assert!(Keyring::parse(&format!("{}\r\n\n", line(1))).is_ok());
    }
}
