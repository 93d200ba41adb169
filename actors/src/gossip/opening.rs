//! Opening and screening of datagrams as pure functions of bytes, for fuzzers and for inspecting recorded datagrams.
//!
//! Must not know sockets or time. A datagram that opens is authentic, not necessarily fresh.

use murmuration::id::Incarnation;
use murmuration::time::Timestamp;

use super::envelope::{Datagram, Envelope};
use super::keyring::{KeyError, Keyring};
use super::screen::{Screen, ScreenError};

/// Opens datagrams of one tier.
#[derive(Debug)]
pub struct Opener(Envelope);

// === impl Opener ===

impl Opener {
    /// Opens datagrams sealed for `tier` with `keys`, the text of a key file; without keys, plain datagrams.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn new(tier: &str, keys: Option<&str>) -> Result<Self, KeyError> {
        Ok(Self(Envelope::new(tier, keys.map(Keyring::parse).transpose()?)))
    }

    /// The datagram in `bytes`; `None` when it is of another tier, or not sealed with these keys.
    pub fn open(&self, bytes: &[u8]) -> Option<Datagram> {
        self.0.open(bytes)
    }
}

/// Checks whether the replica `me` would pass `message`, the joined parts of datagrams, to chitchat.
///
/// # Errors
/// See [`ScreenError`].
pub fn screen(me: &str, incarnation: u64, message: &[u8]) -> Result<(), ScreenError> {
    Screen::new(me, Incarnation(incarnation)).check(message, Timestamp::ZERO)
}
