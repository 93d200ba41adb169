//! Writes numbers and texts the way [`super::reader`] reads them.

use bincode::Encode;
use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::enc::write::Writer;
use bincode::error::EncodeError;

use super::BATCH_BYTES_MAX;

/// bincode's layout of every value on the wire: numbers of one byte up to 250, else of a mark and two, four or eight
/// bytes, little end first; texts after their length; nothing longer than a batch.
pub(super) fn layout() -> Configuration<LittleEndian, Varint, Limit<BATCH_BYTES_MAX>> {
    bincode::config::standard().with_limit::<BATCH_BYTES_MAX>()
}

/// Appends to a vector, which can't fail.
struct Appended<'a>(&'a mut Vec<u8>);

// === impl Appended ===

impl Writer for Appended<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Appends a number.
pub(in crate::replication) fn varint(number: u64, bytes: &mut Vec<u8>) {
    append(number, bytes);
}

/// Appends a text after its length.
pub(in crate::replication) fn text(text: &str, bytes: &mut Vec<u8>) {
    append(text, bytes);
}

fn append(value: impl Encode, bytes: &mut Vec<u8>) {
    // Neither the writer nor the layout of numbers and texts has an error.
    let _ = bincode::encode_into_writer(value, Appended(bytes), layout());
}

/// Appends a flag, and what `write` writes where there is something.
pub(super) fn optional<T>(value: Option<T>, bytes: &mut Vec<u8>, write: impl FnOnce(T, &mut Vec<u8>)) {
    bytes.push(value.is_some().into());
    if let Some(value) = value {
        write(value, bytes);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::reader::{Reader, What};
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for number in [0, 1, 250, 251, 252, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, u64::MAX] {
            let mut bytes = Vec::new();
            varint(number, &mut bytes);
            let mut reader = Reader::new(What { name: "a number", fact: None }, &bytes);
            assert_eq!(reader.number("number"), Ok(number));
            assert_eq!(reader.left(), 0);
        }
    }
}
