//! Reads numbers, names and lists from bytes. An error says what ended too early, where, and within which field.
//!
//! Must not know kinds or batches. The layout of each value is bincode's ([`super::writer::layout`]). Nothing is
//! reserved by a number that was read before the bytes are there.

use bincode::BorrowDecode;
use bincode::error::DecodeError;

use super::CodecError;
use super::writer::layout;

/// What is read, for errors: "a placement (fact 7)".
#[derive(Clone, Copy, Debug)]
pub(super) struct What {
    pub(super) name: &'static str,
    /// The number of the fact; `None` for parts of the batch itself.
    pub(super) fact: Option<u64>,
}

/// The unread rest of some bytes.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    what: What,
    bytes: &'a [u8],
    at: usize,
}

// === impl What ===

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.fact {
            Some(fact) => write!(f, "{} (fact {fact})", self.name),
            None => f.write_str(self.name),
        }
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn new(what: What, bytes: &'a [u8]) -> Self {
        Self { what, bytes, at: 0 }
    }

    /// The error that `what` has this flaw.
    pub(super) fn malformed(&self, flaw: impl std::fmt::Display) -> CodecError {
        CodecError::Malformed(format!("{} {flaw}", self.what))
    }

    /// How many bytes are unread.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// All unread bytes.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        rest
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], CodecError> {
        let Some(taken) = self.bytes[self.at..].get(..count) else {
            return Err(CodecError::Short { what: self.what.to_string(), bytes: self.bytes.len(), field });
        };
        self.at += count;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], CodecError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, field)?);
        Ok(array)
    }

    pub(super) fn byte(&mut self, field: &'static str) -> Result<u8, CodecError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    pub(super) fn number(&mut self, field: &'static str) -> Result<u64, CodecError> {
        self.value(field)
    }

    /// A number of at most 32 bits.
    pub(super) fn number32(&mut self, field: &'static str) -> Result<u32, CodecError> {
        self.value(field)
    }

    /// A length or a count.
    pub(super) fn size(&mut self, field: &'static str) -> Result<usize, CodecError> {
        Ok(usize::try_from(self.number(field)?).unwrap_or(usize::MAX))
    }

    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, CodecError> {
        self.value(field)
    }

    pub(super) fn real(&mut self, field: &'static str) -> Result<f64, CodecError> {
        self.value(field)
    }

    /// A text that follows its length in bytes.
    pub(super) fn text(&mut self, field: &'static str) -> Result<&'a str, CodecError> {
        self.value(field)
    }

    fn value<T: BorrowDecode<'a, ()>>(&mut self, field: &'static str) -> Result<T, CodecError> {
        match bincode::borrow_decode_from_slice(&self.bytes[self.at..], layout()) {
            Ok((value, read)) => {
                self.at += read;
                Ok(value)
            }
            Err(DecodeError::UnexpectedEnd { .. }) => {
                Err(CodecError::Short { what: self.what.to_string(), bytes: self.bytes.len(), field })
            }
            Err(why) => Err(self.malformed(format_args!("has a {field} that can't be read: {why}"))),
        }
    }

    /// What `read` reads, where a flag says that it is there.
    pub(super) fn optional<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Option<T>, CodecError> {
        if self.flag(field)? { read(self).map(Some) } else { Ok(None) }
    }

    /// Ends the reading. Where a later release may have appended fields (`grows`), they are ignored.
    pub(super) fn end(self, grows: bool) -> Result<(), CodecError> {
        match self.left() {
            left if left > 0 && !grows => Err(self.malformed(format_args!("has {left} bytes after its end"))),
            _ => Ok(()),
        }
    }
}
