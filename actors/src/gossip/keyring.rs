//! The tier's shared keys: the first seals, all open.
//!
//! Must not know files, sockets or what is sealed. A key is replaced in three steps without a restart: the new one as
//! second line everywhere, then as first, then alone. No shared key seals a datagram itself. Each start of a lane seals
//! with a subkey of its own and numbers its datagrams, so a nonce never repeats under one key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};

/// Most keys in force at once: a rotation needs two.
const KEYS_MAX: usize = 2;
/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// Bytes that identify a key.
const ID_BYTES: usize = 4;
/// Bytes that authenticate a datagram.
#[cfg(test)]
const TAG_BYTES: usize = 16;
/// Bytes that identify one start of a lane.
pub(super) const BOOT_BYTES: usize = 16;
/// The purpose of subkeys; another use of the same key file derives other subkeys.
const PURPOSE: &[u8] = b"murmuration gossip datagram 2";

/// Why a key file holds no keys. It never contains any part of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The file can't be read.
    #[error("can't read the gossip keys in {path}: {why}; make them with `openssl rand -base64 32`")]
    Read {
        /// The path of the file.
        path: String,
        /// The system's error.
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
}

/// One key: the root of its subkeys, and the key that the first release seals with.
struct Key {
    id: [u8; ID_BYTES],
    root: Prk,
    version_one: LessSafeKey,
}

// === impl Keyring ===

impl Keyring {
    /// Bytes that sealing adds.
    #[cfg(test)]
    pub(super) const OVERHEAD: usize = ID_BYTES + TAG_BYTES;

    /// Reads one or two lines of base64.
    pub(super) fn parse(text: &str) -> Result<Self, KeyError> {
        let lines: Vec<(usize, &str)> =
            text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty()).collect();
        if lines.is_empty() || lines.len() > KEYS_MAX {
            return Err(KeyError::Count(lines.len()));
        }
        let key = |(at, line): (usize, &str)| Key::parse(line).ok_or(KeyError::Line(at + 1));
        Ok(Self { keys: lines.into_iter().map(key).collect::<Result<_, _>>()? })
    }

    /// Appends `plain` to `out`, sealed with the first key's subkey for the boot in `about`, and bound to `about`.
    /// `number` must differ in each call for one boot. `None` without a key.
    pub(super) fn seal(&self, about: &About<'_>, number: u64, plain: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let key = self.keys.first()?;
        let subkey = key.subkey(about)?;
        out.extend_from_slice(&key.id);
        let start = out.len();
        out.extend_from_slice(plain);
        let bound = about.bytes(number);
        let tag = subkey.seal_in_place_separate_tag(nonce(number), Aad::from(&bound), &mut out[start..]).ok()?;
        out.extend_from_slice(tag.as_ref());
        Some(())
    }

    /// Opens what any of the keys sealed under the same `about` and `number`.
    pub(super) fn open(&self, about: &About<'_>, number: u64, sealed: &[u8]) -> Option<Vec<u8>> {
        let (id, sealed) = sealed.split_first_chunk::<ID_BYTES>()?;
        self.keys.iter().filter(|key| key.id == *id).find_map(|key| {
            let mut opened = sealed.to_vec();
            let bound = about.bytes(number);
            let length = key.subkey(about)?.open_in_place(nonce(number), Aad::from(&bound), &mut opened).ok()?.len();
            opened.truncate(length);
            Some(opened)
        })
    }

    /// Seals as the first release did: with the key itself, under the random `nonce`.
    pub(super) fn seal_version_one(
        &self,
        tier: &[u8],
        nonce: [u8; NONCE_LEN],
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let key = self.keys.first()?;
        out.extend_from_slice(&key.id);
        out.extend_from_slice(&nonce);
        let start = out.len();
        out.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.version_one.seal_in_place_separate_tag(nonce, Aad::from(tier), &mut out[start..]).ok()?;
        out.extend_from_slice(tag.as_ref());
        Some(())
    }

    /// Opens what the first release sealed.
    pub(super) fn open_version_one(&self, tier: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (id, sealed) = sealed.split_first_chunk::<ID_BYTES>()?;
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        self.keys.iter().filter(|key| key.id == *id).find_map(|key| {
            let mut opened = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let length = key.version_one.open_in_place(nonce, Aad::from(tier), &mut opened).ok()?.len();
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

/// What a sealed datagram is bound to besides its number: its tier, and the lane start that sent it.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    pub(super) tier: &'a str,
    pub(super) boot: &'a [u8; BOOT_BYTES],
}

// === impl About ===

impl About<'_> {
    fn bytes(&self, number: u64) -> Vec<u8> {
        [self.boot.as_slice(), &number.to_le_bytes(), self.tier.as_bytes()].concat()
    }
}

// === impl Key ===

impl Key {
    fn parse(line: &str) -> Option<Self> {
        let bytes: [u8; KEY_BYTES] = STANDARD.decode(line).ok()?.try_into().ok()?;
        let id = *digest(&SHA256, &bytes).as_ref().first_chunk()?;
        let version_one = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &bytes).ok()?);
        Some(Self { id, root: Salt::new(HKDF_SHA256, PURPOSE).extract(&bytes), version_one })
    }

    fn subkey(&self, about: &About<'_>) -> Option<LessSafeKey> {
        let info = [about.boot.as_slice(), about.tier.as_bytes()];
        let derived = self.root.expand(&info, &CHACHA20_POLY1305).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(derived)))
    }
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    const ABOUT: About<'static> = About { tier: "tier", boot: &[9; BOOT_BYTES] };

    fn line(byte: u8) -> String {
        STANDARD.encode([byte; KEY_BYTES])
    }

    fn keyring(bytes: &[u8]) -> Keyring {
        let lines: Vec<String> = bytes.iter().map(|byte| line(*byte)).collect();
        Keyring::parse(&lines.join("\n")).expect("keys")
    }

    fn sealed(keyring: &Keyring) -> Vec<u8> {
        let mut out = Vec::new();
        keyring.seal(&ABOUT, 7, b"word", &mut out).expect("a key");
        out
    }

    #[test]
    fn both_keys_open_and_the_first_seals() {
        let (old, both, new) = (keyring(&[1]), keyring(&[2, 1]), keyring(&[2]));
        assert_eq!(both.open(&ABOUT, 7, &sealed(&old)).as_deref(), Some(&b"word"[..]));
        assert_eq!(new.open(&ABOUT, 7, &sealed(&both)).as_deref(), Some(&b"word"[..]));
        assert_eq!(old.open(&ABOUT, 7, &sealed(&both)), None);
        assert_eq!(sealed(&old).len(), b"word".len() + Keyring::OVERHEAD);
    }

    #[test]
    fn another_tier_sender_or_number_and_every_changed_or_missing_byte_stay_closed() {
        let keyring = keyring(&[1]);
        let whole = sealed(&keyring);
        assert_eq!(keyring.open(&About { tier: "another", ..ABOUT }, 7, &whole), None);
        assert_eq!(keyring.open(&About { boot: &[8; BOOT_BYTES], ..ABOUT }, 7, &whole), None);
        assert_eq!(keyring.open(&ABOUT, 8, &whole), None);
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_eq!(keyring.open(&ABOUT, 7, &changed), None, "byte {at}");
            assert_eq!(keyring.open(&ABOUT, 7, &whole[..at]), None, "{at} bytes");
        }
    }

    #[test]
    fn two_starts_never_share_a_keystream() {
        let keyring = keyring(&[1]);
        let zeros = |boot: &[u8; BOOT_BYTES], number| {
            let mut out = Vec::new();
            keyring.seal(&About { boot, ..ABOUT }, number, &[0; 32], &mut out).expect("a key");
            out
        };
        let all = [zeros(&[1; 16], 0), zeros(&[2; 16], 0), zeros(&[1; 16], 1)];
        assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2]);
    }

    #[test]
    fn datagrams_of_the_first_release_open_only_as_such() {
        let keyring = keyring(&[1]);
        let mut out = Vec::new();
        keyring.seal_version_one(b"tier", [3; NONCE_LEN], b"word", &mut out).expect("a key");
        assert_eq!(keyring.open_version_one(b"tier", &out).as_deref(), Some(&b"word"[..]));
        assert_eq!(keyring.open_version_one(b"another", &out), None);
        assert_eq!(keyring.open(&ABOUT, 7, &out), None);
    }

    #[test]
    fn an_invalid_key_file_is_refused_with_its_line_but_not_its_content() {
        assert_eq!(Keyring::parse(" \n\n").err(), Some(KeyError::Count(0)));
        assert_eq!(Keyring::parse(&[line(1), line(2), line(3)].join("\n")).err(), Some(KeyError::Count(3)));
        assert_eq!(Keyring::parse(&format!("{}\nsecret", line(1))).err(), Some(KeyError::Line(2)));
        assert_eq!(Keyring::parse(&STANDARD.encode([1; 31])).err(), Some(KeyError::Line(1)));
        assert!(!KeyError::Line(2).to_string().contains("secret"));
        assert!(Keyring::parse(&format!("{}\r\n\n", line(1))).is_ok());
    }
}
