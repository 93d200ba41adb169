//! A JSON document of an answer, of any size, scanned as it goes by: only its `usage`, and whether it is an error, is kept.
//!
//! Both stand at the top, or within the `response` or `message` that an event of a stream carries. Memory is bounded by
//! [`CAPTURE_BYTES_MAX`], however long the document is.
//!
//! Must not know where the pieces come from.

use memchr::memchr2;

use crate::dialect::usage::Counts;
use crate::request::Usage;

/// The longest value that is looked at; of a longer one its head counts.
pub const CAPTURE_BYTES_MAX: usize = 8 * 1024;
/// The longest key that is told from others.
const KEY_BYTES_MAX: usize = 16;

/// What a document has shown so far.
#[derive(Debug, Default)]
pub struct JsonReader {
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// After a `{` or `,` of an object that is looked into: the next string is a key.
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

/// The values that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Usage,
    Error,
    /// `type`, `object` and `status` tell of errors too.
    Word,
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
            // Inside of an uninteresting string, which is where nearly all of an answer's bytes are, jump to its end.
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

    /// The answer's usage, once it has gone by.
    pub fn usage(&self) -> Option<Usage> {
        self.counts.usage()
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the document is an error: it has an `error` that says something, or its type, object or status is one.
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
                self.in_key = self.expects_key && self.is_looked_into();
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
            b',' if self.is_looked_into() => {
                self.end_value();
                self.expects_key = true;
            }
            b':' if self.is_looked_into() && self.capturing.is_none() => self.begin_value(),
            _ => self.capture(byte),
        }
    }

    /// Whether keys at the current depth matter.
    fn is_looked_into(&self) -> bool {
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
        // A key with an escape is none of those that are known, so its backslash stays.
        if self.in_key && self.key.len() < KEY_BYTES_MAX {
            self.key.push(byte);
        }
    }

    fn begin_value(&mut self) {
        let wanted = match self.key.as_slice() {
            b"usage" => Some(Wanted::Usage),
            b"error" => Some(Wanted::Error),
            b"type" | b"object" | b"status" => Some(Wanted::Word),
            _ => None,
        };
        self.capturing = wanted.map(|wanted| (wanted, self.depth));
        self.captured.clear();
    }

    /// A value ends, and with it what is captured, if that began at this depth.
    fn end_value(&mut self) {
        let Some((wanted, _)) = self.capturing.take_if(|(_, depth)| *depth == self.depth) else { return };
        let captured = self.captured.trim_ascii();
        match wanted {
            Wanted::Usage => self.counts.take(Counts::read(captured)),
            Wanted::Error => self.error |= says_something(captured),
            Wanted::Word => {
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

/// Whether the value of an `error` is one: null, false, and what is empty is none.
fn says_something(value: &[u8]) -> bool {
    match value {
        b"" | b"null" | b"false" | b"\"\"" => false,
        [b'{' | b'[', inside @ .., b'}' | b']'] => !inside.trim_ascii().is_empty(),
        _ => true,
    }
}

#[cfg(test)]
#[path = "json_answer_tests.rs"]
mod tests;
