//! Reads streamed responses (server-sent events) as they arrive, in pieces of any size.
//!
//! Memory is bounded: a line longer than [`LINE_BYTES_MAX`] is not kept, only scanned for usage and errors.
//!
//! Must not know where the pieces come from.

use memchr::{memchr, memmem};

use crate::dialect::json_answer::JsonReader;
use crate::dialect::usage::Counts;
use crate::request::Usage;

/// The longest line that is read as a whole.
pub const LINE_BYTES_MAX: usize = 256 * 1024;

const DATA: &[u8] = b"data:";

/// The state of reading one streamed response.
#[derive(Debug, Default)]
pub struct SseReader {
    /// The unfinished last line.
    partial: Vec<u8>,
    /// The unfinished last line, if it is too long to be kept.
    long: Option<LongLine>,
    first_token: bool,
    error: bool,
    done: bool,
    counts: Counts,
    long_lines: u64,
}

/// A line that is scanned as it arrives; it has no reader if it is not a `data:` line.
#[derive(Debug)]
struct LongLine(Option<JsonReader>);

// === impl SseReader ===

impl SseReader {
    /// A reader at the start of a response.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next piece.
    pub fn push(&mut self, mut piece: &[u8]) {
        while let Some(end) = memchr(b'\n', piece) {
            let (line, rest) = (&piece[..end], &piece[end + 1..]);
            piece = rest;
            if self.partial.is_empty() && self.long.is_none() && line.len() <= LINE_BYTES_MAX {
                self.line(line);
                continue;
            }
            self.keep(line);
            match self.long.take() {
                Some(long) => self.end_long(long),
                None => {
                    let whole = std::mem::take(&mut self.partial);
                    self.line(&whole);
                    self.partial = whole;
                    self.partial.clear();
                }
            }
        }
        if !piece.is_empty() {
            self.keep(piece);
        }
    }

    /// Whether a token was seen: an event with content. A comment, a role or a usage is none.
    pub fn first_token(&self) -> bool {
        self.first_token
    }

    /// Whether the engine reported that the request failed. Real engines do so inside a stream that began with 200.
    pub fn error(&self) -> bool {
        self.error
    }

    /// Whether the stream reached its regular end (`[DONE]`).
    pub fn done(&self) -> bool {
        self.done
    }

    /// The usage, reported in one event or in several: of each count the last one.
    pub fn usage(&self) -> Option<Usage> {
        self.counts.usage()
    }

    /// Lines that were too long to be searched for tokens.
    pub fn long_lines(&self) -> u64 {
        self.long_lines
    }

    /// Adds to the unfinished line.
    fn keep(&mut self, piece: &[u8]) {
        if self.long.is_none() {
            if self.partial.len() + piece.len() <= LINE_BYTES_MAX {
                return self.partial.extend_from_slice(piece);
            }
            self.begin_long(piece);
        } else if let Some(LongLine(Some(reader))) = &mut self.long {
            reader.push(piece);
        }
    }

    /// The unfinished line becomes too long with `piece`.
    fn begin_long(&mut self, piece: &[u8]) {
        let head = std::mem::take(&mut self.partial);
        let is_data = head.iter().chain(piece).take(DATA.len()).eq(DATA);
        self.long = Some(LongLine(is_data.then(|| {
            let mut reader = JsonReader::new();
            reader.push(head.get(DATA.len()..).unwrap_or_default());
            reader.push(&piece[DATA.len().saturating_sub(head.len())..]);
            reader
        })));
    }

    fn end_long(&mut self, long: LongLine) {
        self.long_lines += 1;
        if let LongLine(Some(reader)) = long {
            self.counts.take(reader.counts());
            self.error |= reader.error();
        }
    }

    fn line(&mut self, line: &[u8]) {
        let Some(data) = line.strip_prefix(DATA) else {
            return;
        };
        let data = data.trim_ascii();
        if data == b"[DONE]" {
            self.done = true;
            return;
        }
        // Nearly all events have none of these words, and searching for them is cheaper than parsing.
        const WORDS: [&[u8]; 3] = [b"\"usage\"", b"\"error\"", b"failed\""];
        if WORDS.iter().any(|word| memmem::find(data, word).is_some()) {
            let mut reader = JsonReader::new();
            reader.push(data);
            self.counts.take(reader.counts());
            if reader.error() {
                self.error = true;
                return;
            }
        }
        if !self.first_token {
            self.first_token = has_token(data);
        }
    }
}

/// Whether an event carries output: a non-empty text in any of the fields that the APIs use for it.
fn has_token(data: &[u8]) -> bool {
    const KEYS: [&[u8]; 6] =
        [b"\"content\":", b"\"text\":", b"\"reasoning\":", b"\"reasoning_content\":", b"\"arguments\":", b"\"delta\":"];
    KEYS.iter().any(|key| {
        memmem::find_iter(data, key).any(|at| {
            let value = data[at + key.len()..].trim_ascii_start();
            value.len() > 1 && value[0] == b'"' && value[1] != b'"'
        })
    }) || memmem::find(data, b"\"tool_calls\":[{").is_some()
}

#[cfg(test)]
#[path = "sse_tests.rs"]
mod tests;
