//! Reads numbers, names and lists from bytes. An error says what ended too early, where, and within which field.
//!
//! Must not know kinds or batches. Nothing is reserved by a number that was read before the bytes are there.

use super::CodecError;

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

    /// A number of one, three, five or nine bytes (see [`super::writer::varint`]).
    pub(super) fn number(&mut self, field: &'static str) -> Result<u64, CodecError> {
        Ok(match self.byte(field)? {
            251 => u16::from_le_bytes(self.array(field)?).into(),
            252 => u32::from_le_bytes(self.array(field)?).into(),
            253 => u64::from_le_bytes(self.array(field)?),
            small @ 0..=250 => small.into(),
            mark => return Err(self.malformed(format_args!("has a {field} that begins with {mark}"))),
        })
    }

    /// A number of at most 32 bits.
    pub(super) fn number32(&mut self, field: &'static str) -> Result<u32, CodecError> {
        let number = self.number(field)?;
        u32::try_from(number).map_err(|_| self.malformed(format_args!("has a {field} of {number}")))
    }

    /// A length or a count.
    pub(super) fn size(&mut self, field: &'static str) -> Result<usize, CodecError> {
        Ok(usize::try_from(self.number(field)?).unwrap_or(usize::MAX))
    }

    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, CodecError> {
        match self.byte(field)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.malformed(format_args!("has a {field} of {other}, which is 0 or 1"))),
        }
    }

    pub(super) fn real(&mut self, field: &'static str) -> Result<f64, CodecError> {
        self.array(field).map(f64::from_le_bytes)
    }

    /// A text that follows its length in bytes.
    pub(super) fn text(&mut self, field: &'static str) -> Result<&'a str, CodecError> {
        let bytes = self.size(field)?;
        let text = self.take(bytes, field)?;
        std::str::from_utf8(text).map_err(|_| self.malformed(format_args!("has a {field} that is no text")))
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
