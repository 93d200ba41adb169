//! Scans a JSON document of a response, of any size, as it arrives. Keeps only its `usage` and whether it is an error.
//!
//! Both are at the top level, or in the `response` or `message` of a stream event. Memory is bounded by
//! [`CAPTURE_BYTES_MAX`], however long the document is.
//!
//! Must not know where the pieces come from.

use memchr::memchr2;

use crate::dialect::usage::Counts;
use crate::request::Usage;

/// The longest value that is captured; of a longer one only the head counts.
pub const CAPTURE_BYTES_MAX: usize = 8 * 1024;
/// Bytes that are kept of a key; known keys are shorter.
const KEY_BYTES_MAX: usize = 16;

/// The state of the scan of one document.
#[derive(Debug, Default)]
pub struct JsonReader {
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// After a `{` or `,` of an inspected object: the next string is a key.
    expects_key: bool,
    /// The object at depth two belongs to `response` or `message`.
    inside: bool,
    key: Vec<u8>,
    in_key: bool,
    captured: Vec<u8>,
    capturing: Option<(Wanted, u32)>,
    counts: Counts,
    error: bool,
}

/// The values that are captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Usage,
    Error,
    /// `type`, `object` and `status` can mark an error too.
    Marker,
}

// === impl JsonReader ===

impl JsonReader {
    /// A reader at the start of a document.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        let mut at = 0;
        while at < piece.len() {
            // Nearly all bytes of a response are inside strings that are not captured: jump to the end of such a
            // string.
            if self.in_string && !self.escaped && !self.in_key && self.capturing.is_none() {
                match memchr2(b'"', b'\\', &piece[at..]) {
                    Some(skip) => at += skip,
                    None => return,
                }
            }
            self.byte(piece[at]);
            at += 1;
        }
    }

    /// The usage, once it was read.
    pub fn usage(&self) -> Option<Usage> {
        self.counts.usage()
    }

    /// The counts that were read so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the document is an error: it has an `error` that is not empty, or its type, object or status marks one.
    pub fn error(&self) -> bool {
        self.error
    }

    fn byte(&mut self, byte: u8) {
        if self.in_string {
            self.string_byte(byte);
            self.capture(byte);
            return;
        }
        match byte {
            b'"' => {
                self.in_string = true;
                self.in_key = self.expects_key && self.is_inspected();
                if self.in_key {
                    self.key.clear();
                }
                self.capture(byte);
            }
            b'{' | b'[' => {
                let inside = self.depth == 1 && byte == b'{' && matches!(self.key.as_slice(), b"response" | b"message");
                self.depth = self.depth.saturating_add(1);
                if self.depth == 2 {
                    self.inside = inside;
                }
                self.expects_key = byte == b'{';
                self.capture(byte);
            }
            b'}' | b']' => {
                self.end_value();
                self.depth = self.depth.saturating_sub(1);
                self.inside &= self.depth >= 2;
                self.capture(byte);
            }
            b',' if self.is_inspected() => {
                self.end_value();
                self.expects_key = true;
            }
            b':' if self.is_inspected() && self.capturing.is_none() => self.begin_value(),
            _ => self.capture(byte),
        }
    }

    /// Whether keys at the current depth matter.
    fn is_inspected(&self) -> bool {
        self.capturing.is_none_or(|(_, depth)| depth == self.depth)
            && (self.depth == 1 || self.depth == 2 && self.inside)
    }

    fn string_byte(&mut self, byte: u8) {
        let escaped = std::mem::take(&mut self.escaped);
        match byte {
            b'\\' if !escaped => self.escaped = true,
            b'"' if !escaped => {
                self.in_string = false;
                self.expects_key &= !self.in_key;
                self.in_key = false;
                return;
            }
            _ => {}
        }
        // No known key has an escape, so a backslash is kept as it is.
        if self.in_key && self.key.len() < KEY_BYTES_MAX {
            self.key.push(byte);
        }
    }

    fn begin_value(&mut self) {
        let wanted = match self.key.as_slice() {
            b"usage" => Some(Wanted::Usage),
            b"error" => Some(Wanted::Error),
            b"type" | b"object" | b"status" => Some(Wanted::Marker),
            _ => None,
        };
        self.capturing = wanted.map(|wanted| (wanted, self.depth));
        self.captured.clear();
    }

    /// Ends a value, and the capture if it began at this depth.
    fn end_value(&mut self) {
        let Some((wanted, _)) = self.capturing.take_if(|(_, depth)| *depth == self.depth) else { return };
        let captured = self.captured.trim_ascii();
        match wanted {
            Wanted::Usage => self.counts.take(Counts::read(captured)),
            Wanted::Error => self.error |= is_error(captured),
            Wanted::Marker => {
                self.error |= matches!(captured, b"\"error\"" | b"\"response.failed\"" | b"\"failed\"");
            }
        }
        self.captured.clear();
    }

    fn capture(&mut self, byte: u8) {
        if self.capturing.is_some() && self.captured.len() < CAPTURE_BYTES_MAX {
            self.captured.push(byte);
        }
    }
}

/// Whether the value of an `error` key is an error; null, false and empty values are not.
fn is_error(value: &[u8]) -> bool {
    match value {
        b"" | b"null" | b"false" | b"\"\"" => false,
        [b'{' | b'[', inside @ .., b'}' | b']'] => !inside.trim_ascii().is_empty(),
        _ => true,
    }
}

#[cfg(test)]
#[path = "json_answer_tests.rs"]
mod tests;
