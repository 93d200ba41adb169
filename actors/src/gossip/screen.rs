//! Checks a chitchat message before chitchat reads it: how large it inflates, and whether chitchat would survive it.
//!
//! Must not know what values mean. chitchat inflates without a bound and asserts that peers never send certain
//! contents. So a message is walked here first, block by block, in a buffer of fixed size. Layouts: chitchat 0.11,
//! message version 0.

use std::collections::BTreeMap;
use std::time::Duration;

use murmuration::id::Incarnation;
use murmuration::replication::codec::NAME_BYTES_MAX;
use murmuration::time::Timestamp;

use super::sessions::INCARNATION_MAX;

/// Most inflated bytes of the blocks of one message. A message of honest peers fits one datagram deflated.
const INFLATED_MAX: usize = 1 << 20;
/// Most inflated bytes of one block: the size of chitchat's own buffer.
const BLOCK_MAX: usize = u16::MAX as usize;
/// Most bytes of a key. This release's keys have four at most.
const KEY_BYTES_MAX: usize = 64;
/// Most bytes that all known nodes take in a digest. An answer holds the digest beside its delta, and chitchat relies
/// on the room.
const DIGEST_BYTES_MAX: usize = 40_000;
/// How long a node counts after it was last named: until chitchat has forgotten it.
const NODE_COUNTS: Duration = Duration::from_secs(90);
/// Versions above this are invalid: chitchat must always be able to take a higher one.
const VERSION_MAX: u64 = u64::MAX >> 1;
/// Bytes of a node's numbers in a digest: heartbeat, last collection, version.
const NODE_NUMBERS: usize = 24;

/// Why a message is not passed to chitchat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScreenError {
    /// It is not a message.
    #[error("not a message of chitchat's")]
    Malformed,
    /// It inflates beyond what honest peers send.
    #[error("it inflates to more than {INFLATED_MAX} bytes")]
    TooLarge,
    /// It contains what chitchat asserts no peer sends.
    #[error("it says what no replica can say of itself or of another")]
    Impossible,
    /// It names more nodes than a digest can hold.
    #[error("it names more nodes than a tier has")]
    TooManyNodes,
}

/// The screen of one lane.
pub(super) struct Screen {
    me: (String, u64),
    /// The nodes that were named, as encoded in digests, and when last.
    nodes: BTreeMap<Vec<u8>, Timestamp>,
    bytes: usize,
    block: Box<[u8]>,
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

// === impl ScreenError ===

impl ScreenError {
    /// Its spelling in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too-large",
            Self::Impossible => "impossible",
            Self::TooManyNodes => "too-many-peers",
        }
    }
}

// === impl Screen ===

impl Screen {
    /// The screen of the replica `me` as this incarnation.
    pub(super) fn new(me: &str, incarnation: Incarnation) -> Self {
        Self { me: (me.to_owned(), incarnation.0), nodes: BTreeMap::new(), bytes: 0, block: vec![0; BLOCK_MAX].into() }
    }

    /// Whether chitchat may read `message`.
    pub(super) fn check(&mut self, message: &[u8], now: Timestamp) -> Result<(), ScreenError> {
        const SYN: u8 = 0;
        const SYN_ACK: u8 = 1;
        const ACK: u8 = 2;
        const BAD_CLUSTER: u8 = 3;
        let mut reader = Reader(message);
        if reader.take(3)? != [0x53, 0xb0, 0] {
            return Err(ScreenError::Malformed);
        }
        match reader.byte()? {
            SYN => {
                self.digest(&mut reader, now)?;
                reader.text().map(drop)
            }
            SYN_ACK => {
                self.digest(&mut reader, now)?;
                self.delta(&mut reader)
            }
            ACK => self.delta(&mut reader),
            BAD_CLUSTER => Ok(()),
            _ => Err(ScreenError::Malformed),
        }
    }

    fn digest(&mut self, reader: &mut Reader<'_>, now: Timestamp) -> Result<(), ScreenError> {
        for _ in 0..reader.u16()? {
            let before = reader.0;
            node(reader)?;
            let id = &before[..before.len() - reader.0.len()];
            let (_, collected, version) = (reader.u64()?, reader.u64()?, reader.u64()?);
            if collected > VERSION_MAX || version > VERSION_MAX {
                return Err(ScreenError::Impossible);
            }
            self.admit(id, now)?;
        }
        Ok(())
    }

    fn admit(&mut self, id: &[u8], now: Timestamp) -> Result<(), ScreenError> {
        if let Some(named) = self.nodes.get_mut(id) {
            *named = now;
            return Ok(());
        }
        let size = id.len() + NODE_NUMBERS;
        if self.bytes + size > DIGEST_BYTES_MAX {
            self.nodes.retain(|_, named| now.since(*named) <= NODE_COUNTS);
            self.bytes = self.nodes.keys().map(|id| id.len() + NODE_NUMBERS).sum();
        }
        if self.bytes + size > DIGEST_BYTES_MAX {
            return Err(ScreenError::TooManyNodes);
        }
        self.nodes.insert(id.to_vec(), now);
        self.bytes += size;
        Ok(())
    }

    fn delta(&mut self, reader: &mut Reader<'_>) -> Result<(), ScreenError> {
        let inflated = self.inflate(reader)?;
        operations(&inflated, (&self.me.0, self.me.1))
    }

    /// The inflated blocks, at most [`INFLATED_MAX`] bytes.
    fn inflate(&mut self, reader: &mut Reader<'_>) -> Result<Vec<u8>, ScreenError> {
        const END: u8 = 0;
        const DEFLATED: u8 = 1;
        const PLAIN: u8 = 2;
        let mut whole = Vec::new();
        loop {
            let kind = reader.byte()?;
            if kind == END {
                return Ok(whole);
            }
            let length = usize::from(reader.u16()?);
            let bytes = reader.take(length)?;
            let block = match kind {
                DEFLATED => {
                    let length = zstd::bulk::decompress_to_buffer(bytes, &mut self.block[..])
                        .map_err(|_| ScreenError::Malformed)?;
                    &self.block[..length]
                }
                PLAIN => bytes,
                _ => return Err(ScreenError::Malformed),
            };
            if whole.len() + block.len() > INFLATED_MAX {
                return Err(ScreenError::TooLarge);
            }
            whole.extend_from_slice(block);
        }
    }
}

/// Checks that chitchat survives the operations of a delta: the versions of a node only grow, and no peer sends values
/// of this replica's own incarnation.
fn operations(bytes: &[u8], me: (&str, u64)) -> Result<(), ScreenError> {
    const NODE: u8 = 0;
    const VALUE: u8 = 1;
    const VERSION: u8 = 2;
    let mut reader = Reader(bytes);
    let (mut highest, mut within, mut version_set) = (0, false, false);
    while !reader.0.is_empty() {
        match reader.byte()? {
            NODE => {
                if node(&mut reader)? == me {
                    return Err(ScreenError::Impossible);
                }
                let (collected, after) = (reader.u64()?, reader.u64()?);
                if collected > VERSION_MAX || after > VERSION_MAX {
                    return Err(ScreenError::Impossible);
                }
                (highest, within, version_set) = (0, true, false);
            }
            VALUE => {
                let (key, _) = (reader.text()?, reader.text()?);
                let version = reader.u64()?;
                let status = reader.byte()?;
                if key.len() > KEY_BYTES_MAX || status > 2 || !within {
                    return Err(ScreenError::Malformed);
                }
                // No value may follow an explicit version.
                if version_set || version <= highest || version > VERSION_MAX {
                    return Err(ScreenError::Impossible);
                }
                highest = version;
            }
            VERSION => {
                let version = reader.u64()?;
                if !within {
                    return Err(ScreenError::Malformed);
                }
                if version < highest || version > VERSION_MAX {
                    return Err(ScreenError::Impossible);
                }
                (highest, version_set) = (version, true);
            }
            _ => return Err(ScreenError::Malformed),
        }
    }
    Ok(())
}

/// Reads a node's identity; returns its name and incarnation.
fn node<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, u64), ScreenError> {
    let name = reader.text()?;
    let generation = reader.u64()?;
    let address = match reader.byte()? {
        4 => 4,
        6 => 16,
        _ => return Err(ScreenError::Malformed),
    };
    reader.take(address + 2)?;
    if name.is_empty() || name.len() > NAME_BYTES_MAX || generation > INCARNATION_MAX.0 {
        return Err(ScreenError::Impossible);
    }
    Ok((name, generation))
}

// === impl Reader ===

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], ScreenError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(ScreenError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, ScreenError> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, ScreenError> {
        self.take(2).and_then(|bytes| bytes.try_into().map_err(|_| ScreenError::Malformed)).map(u16::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, ScreenError> {
        self.take(8).and_then(|bytes| bytes.try_into().map_err(|_| ScreenError::Malformed)).map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<&'a str, ScreenError> {
        let length = usize::from(self.u16()?);
        std::str::from_utf8(self.take(length)?).map_err(|_| ScreenError::Malformed)
    }
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
