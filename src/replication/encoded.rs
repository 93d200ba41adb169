//! A record as bytes, encoded once and shared by every batch and page that carries it.
//!
//! Must not know what a record means. A fact is its number, its age, and bytes that are the same for every receiver of
//! the current wire version. Only the first two are written for each message. What earlier versions read is derived
//! from the same bytes.

use std::sync::Arc;
use std::time::Duration;

use crate::id::{Incarnation, PoolId, ReplicaId};
use crate::replication::codec::writer::{text, varint};
use crate::replication::codec::{self, BATCH_BYTES_MAX, CodecError, FORMAT, legacy};
use crate::replication::record::Record;

/// Bytes that number and age take at most.
const HEAD_BYTES_MAX: usize = 18;

/// The bytes of a record. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Encoded {
    kind: u8,
    /// The number of parts that it has for readers of versions 1 to 3.
    legacy_parts: u8,
    body: Arc<[u8]>,
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
    /// See [`crate::replication::Batch::pool`].
    pub pool: &'a PoolId,
    /// See [`crate::replication::Batch::after`].
    pub after: u64,
    /// See [`crate::replication::Batch::upto`].
    pub upto: u64,
}

// === impl Encoded ===

impl Encoded {
    /// The bytes of `record`.
    pub fn of(record: &Record) -> Self {
        let (kind, body, legacy_parts) = codec::body_of(record);
        Self { kind, legacy_parts, body: body.into() }
    }

    /// Bytes that it adds to a batch, at most, whichever version reads it.
    pub fn size(&self) -> usize {
        let kind_and_length = if self.body.len() <= 250 { 2 } else { 6 };
        let excess = if self.legacy_parts > 1 { legacy::EXCESS_BYTES_MAX } else { 0 };
        HEAD_BYTES_MAX + kind_and_length + self.body.len() + excess
    }
}

/// The bytes of a batch of `facts` for readers of wire version `version`: those that [`codec::encode_as`] writes.
///
/// # Errors
/// [`CodecError::TooLarge`] when they would be more than [`BATCH_BYTES_MAX`].
pub fn write(version: u8, header: Header<'_>, facts: &[EncodedFact]) -> Result<Vec<u8>, CodecError> {
    let size: usize = facts.iter().map(|fact| fact.encoded.size()).sum();
    let mut bytes = Vec::with_capacity(size + codec::size_of_empty(header.origin, header.pool));
    let format = codec::format_for(version, header.pool);
    bytes.push(format);
    let grows = format == FORMAT;
    if grows {
        let mut head = Vec::with_capacity(codec::size_of_empty(header.origin, header.pool));
        write_fixed(header, &mut head);
        text(header.pool.as_str(), &mut head);
        varint(head.len() as u64, &mut bytes);
        bytes.extend_from_slice(&head);
    } else {
        write_fixed(header, &mut bytes);
    }
    let parts = |fact: &EncodedFact| if grows { 1 } else { u64::from(fact.encoded.legacy_parts) };
    varint(facts.iter().map(parts).sum(), &mut bytes);
    let mut before = 0;
    for fact in facts {
        varint(fact.seq.wrapping_sub(before), &mut bytes);
        varint(codec::age_units(fact.age), &mut bytes);
        let Encoded { kind, body, .. } = &fact.encoded;
        if grows {
            codec::push_part(*kind, body, &mut bytes);
        } else {
            legacy::write(*kind, body, &mut bytes);
        }
        before = fact.seq;
    }
    if bytes.len() > BATCH_BYTES_MAX { Err(CodecError::TooLarge(bytes.len())) } else { Ok(bytes) }
}

/// The fields of a header that every version reads.
fn write_fixed(header: Header<'_>, bytes: &mut Vec<u8>) {
    text(&header.origin.0, bytes);
    varint(header.incarnation.0, bytes);
    varint(header.after, bytes);
    varint(header.upto, bytes);
}
