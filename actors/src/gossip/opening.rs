//! Opening and screening as pure functions of bytes: for fuzzers, and for whoever looks at recorded datagrams.
//!
//! Must not know sockets or time. A datagram that opens is authentic, not fresh.

use murmuration::id::Incarnation;
use murmuration::time::Timestamp;

use super::envelope::{Datagram, Envelope};
use super::keyring::{KeyError, Keyring};
use super::screen::{Screen, Unfit};

/// Opens datagrams of one tier.
#[derive(Debug)]
pub struct Opener(Envelope);

// === impl Opener ===

impl Opener {
    /// Opens what `keys`, the text of a key file, sealed for `tier`; without keys, what is plain.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn new(tier: &str, keys: Option<&str>) -> Result<Self, KeyError> {
        Ok(Self(Envelope::new(tier, keys.map(Keyring::parse).transpose()?)))
    }

    /// The datagram in `bytes`; `None` when it is not of this tier, or not sealed by these keys.
    pub fn open(&self, bytes: &[u8]) -> Option<Datagram> {
        self.0.open(bytes)
    }
}

/// Whether the replica `me` would show `message`, the joined parts of datagrams, to chitchat.
///
/// # Errors
/// See [`Unfit`].
pub fn screen(me: &str, incarnation: u64, message: &[u8]) -> Result<(), Unfit> {
    Screen::new(me, Incarnation(incarnation)).check(message, Timestamp::ZERO)
}
