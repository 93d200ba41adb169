//! What versions 1 to 3 read, derived from the bodies of version 4. Their bodies can't grow: they are read to the last
//! byte, lists end with them, and decode tokens follow an in-flight report as a fact of their own.
//!
//! Must not know batches. It is done for each message to such a reader, which a tier has only while it is upgraded.

use super::body::{ANCHOR_BYTES, DECODE_TOKENS, IN_FLIGHT, PLACEMENT, PLACEMENT_REVOKED};
use super::reader::{Reader, What};
use super::writer::varint;
use super::{CodecError, push_part};

/// Bytes by which the parts of a record exceed its bytes in version 4, at most: those of another part's head.
pub(in crate::replication) const EXCESS_BYTES_MAX: usize = 4;

/// Appends the parts of a record, each a kind and a body after its length.
pub(in crate::replication) fn write(kind: u8, body: &[u8], bytes: &mut Vec<u8>) {
    let from = bytes.len();
    let written = match kind {
        IN_FLIGHT => write_in_flight(body, bytes),
        PLACEMENT => write_uncounted(kind, 8, body, bytes),
        PLACEMENT_REVOKED => write_uncounted(kind, 10, body, bytes),
        _ => Err(CodecError::Empty),
    };
    // Other kinds are the same in all versions. Bodies are this release's own, so reading one above does not fail.
    if written.is_err() {
        bytes.truncate(from);
        push_part(kind, body, bytes);
    }
}

fn write_in_flight(body: &[u8], bytes: &mut Vec<u8>) -> Result<(), CodecError> {
    let mut reader = Reader::new(What { name: "an in-flight report", fact: None }, body);
    reader.take(8, "endpoint")?;
    reader.number("number of requests")?;
    reader.number("prompt tokens")?;
    let fixed = body.len() - reader.left();
    let tokens = reader.number("decode tokens")?;
    push_part(IN_FLIGHT, &body[..fixed], bytes);
    if tokens > 0 {
        // A part after the first has the same number, and no age of its own.
        bytes.extend_from_slice(&[0, 0]);
        let mut part = Vec::with_capacity(9);
        varint(tokens, &mut part);
        push_part(DECODE_TOKENS, &part, bytes);
    }
    Ok(())
}

/// Leaves out the count of anchors, which follows `fixed` bytes.
fn write_uncounted(kind: u8, fixed: usize, body: &[u8], bytes: &mut Vec<u8>) -> Result<(), CodecError> {
    let mut reader = Reader::new(What { name: "a placement", fact: None }, body);
    let fixed = reader.take(fixed, "endpoint")?;
    let count = reader.size("count of anchors")?;
    let anchors = reader.take(count.saturating_mul(ANCHOR_BYTES), "anchors")?;
    bytes.push(kind);
    varint((fixed.len() + anchors.len()) as u64, bytes);
    bytes.extend_from_slice(fixed);
    bytes.extend_from_slice(anchors);
    Ok(())
}
