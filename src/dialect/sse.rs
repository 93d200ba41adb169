//! Streamed answers (server-sent events), read as they go by, in whatever pieces they come.
//!
//! Must not know where the pieces come from. Events are not parsed but for the few that matter: the first token, errors,
//! and usage. Memory is bounded: a line longer than [`LINE_BYTES_MAX`] is passed over and counted.

use memchr::{memchr, memmem};

use crate::dialect::usage;
use crate::request::Usage;

/// The longest line that is looked at when it comes in several pieces.
pub const LINE_BYTES_MAX: usize = 256 * 1024;

/// What a streamed answer has shown so far.
#[derive(Debug, Default)]
pub struct SseReader {
    /// The unfinished last line.
    partial: Vec<u8>,
    /// The unfinished last line is too long to be kept; it is passed over to its end.
    skipping: bool,
    first_token: bool,
    error: bool,
    done: bool,
    usage: Option<Usage>,
    skipped_lines: u64,
}

// === impl SseReader ===

impl SseReader {
    /// A reader at the start of an answer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next piece.
    pub fn push(&mut self, mut piece: &[u8]) {
        while let Some(end) = memchr(b'\n', piece) {
            let (line, rest) = (&piece[..end], &piece[end + 1..]);
            piece = rest;
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if self.partial.is_empty() {
                self.line(line);
            } else if self.keep(line) {
                let whole = std::mem::take(&mut self.partial);
                self.line(&whole);
                self.partial = whole;
                self.partial.clear();
            } else {
                self.skipping = false;
            }
        }
        if !self.skipping && !piece.is_empty() {
            self.keep(piece);
        }
    }

    /// Whether a token was seen: an event with content, which a comment, a role or a usage is not.
    pub fn first_token(&self) -> bool {
        self.first_token
    }

    /// Whether the engine said that the request failed. Real engines say so inside of a stream that began with 200.
    pub fn error(&self) -> bool {
        self.error
    }

    /// Whether the stream came to its own end (`[DONE]`).
    pub fn done(&self) -> bool {
        self.done
    }

    /// The last usage that was told.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Lines that were too long to be looked at.
    pub fn skipped_lines(&self) -> u64 {
        self.skipped_lines
    }

    /// Adds to the unfinished line; `false` when it became too long and was dropped.
    fn keep(&mut self, piece: &[u8]) -> bool {
        if self.partial.len() + piece.len() > LINE_BYTES_MAX {
            self.partial = Vec::new();
            self.skipping = true;
            self.skipped_lines += 1;
            return false;
        }
        self.partial.extend_from_slice(piece);
        true
    }

    fn line(&mut self, line: &[u8]) {
        let Some(data) = line.strip_prefix(b"data:") else {
            return;
        };
        let data = data.trim_ascii();
        if data == b"[DONE]" {
            self.done = true;
            return;
        }
        if memmem::find(data, b"\"usage\"").is_some() {
            self.usage = usage::in_event(data).or(self.usage);
        }
        if is_error(data) {
            self.error = true;
        } else if !self.first_token {
            self.first_token = has_token(data);
        }
    }
}

/// An error event has the key `error` at its top with an object (or text) behind it; a null is no error, and neither is
/// the word in somebody's text, where its quotes are escaped.
fn is_error(data: &[u8]) -> bool {
    if memmem::find(data, b"\"error\"").is_none() {
        return false;
    }
    #[derive(serde::Deserialize)]
    struct Top {
        error: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Top>(data).is_ok_and(|top| top.error.is_some())
}

/// Whether an event carries output: text that is not empty, in any of the places where the APIs put it.
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
