//! A record as bytes, encoded once and shared by every batch and page that carries it.
//!
//! Must not know what a record means. A fact is its number, its age, and bytes that are the same for every receiver.
//! Only the first two are written for each message.

use std::sync::Arc;
use std::time::Duration;

use crate::id::{Incarnation, ReplicaId};
use crate::replication::codec::{self, BATCH_BYTES_MAX, CodecError, FORMAT};
use crate::replication::record::Record;

/// Bytes that number and age take at most.
const HEAD_BYTES_MAX: usize = 18;

/// The bytes of a record. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Encoded {
    bytes: Arc<[u8]>,
    /// The number of wire facts that it consists of.
    parts: u8,
}

/// A fact whose record is encoded.
#[derive(Clone, Debug)]
pub struct EncodedFact {
    /// Its number.
    pub seq: u64,
    /// How old it is now.
    pub age: Duration,
    /// Its record.
    pub encoded: Encoded,
}

/// The header of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// See [`crate::replication::Batch::origin`].
    pub origin: &'a ReplicaId,
    /// See [`crate::replication::Batch::incarnation`].
    pub incarnation: Incarnation,
    /// See [`crate::replication::Batch::after`].
    pub after: u64,
    /// See [`crate::replication::Batch::upto`].
    pub upto: u64,
}

// === impl Encoded ===

impl Encoded {
    /// The bytes of `record`.
    ///
    /// # Errors
    /// See [`CodecError`].
    pub fn of(record: &Record) -> Result<Self, CodecError> {
        let (mut bytes, mut parts) = (Vec::with_capacity(64), 0);
        for (number, (kind, body)) in codec::parts_of(record)?.into_iter().enumerate() {
            if number > 0 {
                // A part after the first has the same number, and no age of its own.
                bytes.extend_from_slice(&[0, 0]);
            }
            bytes.push(kind);
            varint(body.len() as u64, &mut bytes);
            bytes.extend_from_slice(&body);
            parts += 1;
        }
        Ok(Self { bytes: bytes.into(), parts })
    }

    /// Bytes that it adds to a batch, at most.
    pub fn size(&self) -> usize {
        self.bytes.len() + HEAD_BYTES_MAX
    }
}

/// The bytes of a batch of `facts`: those that [`codec::encode`] writes.
///
/// # Errors
/// [`CodecError::TooLarge`] when they would be more than [`BATCH_BYTES_MAX`].
pub fn write(header: Header<'_>, facts: &[EncodedFact]) -> Result<Vec<u8>, CodecError> {
    let size: usize = facts.iter().map(|fact| fact.encoded.size()).sum();
    let mut bytes = Vec::with_capacity(size + codec::size_of_empty(header.origin));
    bytes.push(FORMAT);
    varint(header.origin.0.len() as u64, &mut bytes);
    bytes.extend_from_slice(header.origin.0.as_bytes());
    varint(header.incarnation.0, &mut bytes);
    varint(header.after, &mut bytes);
    varint(header.upto, &mut bytes);
    varint(facts.iter().map(|fact| u64::from(fact.encoded.parts)).sum(), &mut bytes);
    let mut before = 0;
    for fact in facts {
        varint(fact.seq.wrapping_sub(before), &mut bytes);
        varint(codec::age_units(fact.age), &mut bytes);
        bytes.extend_from_slice(&fact.encoded.bytes);
        before = fact.seq;
    }
    if bytes.len() > BATCH_BYTES_MAX { Err(CodecError::TooLarge(bytes.len())) } else { Ok(bytes) }
}

/// A number as bincode writes it: small ones take one byte.
fn varint(number: u64, bytes: &mut Vec<u8>) {
    match number {
        0..=250 => bytes.push(number as u8),
        251..=0xffff => {
            bytes.push(251);
            bytes.extend_from_slice(&(number as u16).to_le_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            bytes.push(252);
            bytes.extend_from_slice(&(number as u32).to_le_bytes());
        }
        _ => {
            bytes.push(253);
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_codec_reads_them() {
        for number in [0, 1, 250, 251, 252, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, u64::MAX] {
            let mut bytes = Vec::new();
            varint(number, &mut bytes);
            assert_eq!(bytes, codec::write(&number).unwrap(), "{number}");
        }
    }
}
