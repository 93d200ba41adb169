//! Writes numbers and texts the way [`super::reader`] reads them.

/// Appends a number: one byte up to 250, else a mark and two, four or eight bytes.
pub(in crate::replication) fn varint(number: u64, bytes: &mut Vec<u8>) {
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

/// Appends a text after its length.
pub(in crate::replication) fn text(text: &str, bytes: &mut Vec<u8>) {
    varint(text.len() as u64, bytes);
    bytes.extend_from_slice(text.as_bytes());
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
