//! A whole (not streamed) JSON answer of any size, scanned as it goes by: only its top-level `usage` is kept.
//!
//! Must not know where the pieces come from. Memory is bounded by [`CAPTURE_BYTES_MAX`], however long the answer is.

use memchr::memchr2;

use crate::dialect::usage;
use crate::request::Usage;

/// The longest `usage` that is read.
pub const CAPTURE_BYTES_MAX: usize = 8 * 1024;
/// The longest key that is told from others.
const KEY_BYTES_MAX: usize = 16;

/// What an answer has shown so far.
#[derive(Debug, Default)]
pub struct JsonReader {
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// At the top level, after a `{` or `,`: the next string is a key.
    expects_key: bool,
    key: Vec<u8>,
    in_key: bool,
    captured: Vec<u8>,
    capturing: Option<Wanted>,
    usage: Option<Usage>,
    error: bool,
}

/// The top-level values that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Usage,
    Error,
}

// === impl JsonReader ===

impl JsonReader {
    /// A reader at the start of an answer.
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
        self.usage
    }

    /// Whether the answer has a top-level `error` that is not null.
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
                self.in_key = self.depth == 1 && self.expects_key;
                self.key.clear();
                self.capture(byte);
            }
            b'{' | b'[' => {
                self.depth = self.depth.saturating_add(1);
                self.expects_key = byte == b'{' && self.depth == 1;
                self.capture(byte);
            }
            b'}' | b']' => {
                if self.depth == 1 {
                    self.end_value();
                }
                self.depth = self.depth.saturating_sub(1);
                self.capture(byte);
            }
            b',' if self.depth == 1 => {
                self.end_value();
                self.expects_key = true;
            }
            b':' if self.depth == 1 && self.capturing.is_none() => self.begin_value(),
            _ => self.capture(byte),
        }
    }

    fn string_byte(&mut self, byte: u8) {
        if std::mem::take(&mut self.escaped) {
            return;
        }
        match byte {
            b'\\' => self.escaped = true,
            b'"' => {
                self.in_string = false;
                self.expects_key &= !self.in_key;
                self.in_key = false;
            }
            _ if self.in_key && self.key.len() < KEY_BYTES_MAX => self.key.push(byte),
            _ => {}
        }
    }

    fn begin_value(&mut self) {
        self.capturing = match self.key.as_slice() {
            b"usage" => Some(Wanted::Usage),
            b"error" => Some(Wanted::Error),
            _ => None,
        };
        self.captured.clear();
    }

    fn end_value(&mut self) {
        match self.capturing.take() {
            Some(Wanted::Usage) => self.usage = usage::in_value(&self.captured).or(self.usage),
            Some(Wanted::Error) => self.error |= self.captured.trim_ascii() != b"null",
            None => {}
        }
        self.captured.clear();
    }

    fn capture(&mut self, byte: u8) {
        if self.capturing.is_some() && self.captured.len() < CAPTURE_BYTES_MAX {
            self.captured.push(byte);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const ANSWER: &str = include_str!("../../tests/fixtures/vllm/ok-chat-usage-cached.txt");

    fn read(pieces: &[&[u8]]) -> JsonReader {
        let mut reader = JsonReader::new();
        pieces.iter().for_each(|piece| reader.push(piece));
        reader
    }

    #[test]
    fn a_real_answers_usage_is_found() {
        let body = &ANSWER[ANSWER.find("{\"id\"").unwrap()..];
        let expected = Usage { prompt_tokens: 16, completion_tokens: 3, cached_tokens: Some(0) };
        assert_eq!(read(&[body.as_bytes()]).usage(), Some(expected));
        assert!(!read(&[body.as_bytes()]).error());
    }

    #[test]
    fn only_the_top_level_counts() {
        let body =
            r#"{"choices":[{"usage":{"prompt_tokens":9}}],"text":"\"usage\":{\"prompt_tokens\":8}","error":null}"#;
        let reader = read(&[body.as_bytes()]);
        assert_eq!((reader.usage(), reader.error()), (None, false));
        assert!(read(&[br#"{"object":"error","error":{"message":"no","code":503}}"#]).error());
    }

    #[test]
    fn a_usage_without_end_is_not_kept_without_bound() {
        let mut reader = read(&[br#"{"usage":{"x":""#]);
        (0..100).for_each(|_| reader.push(&[b'a'; 1000]));
        assert!(reader.captured.len() <= CAPTURE_BYTES_MAX);
    }

    proptest! {
        #[test]
        fn how_an_answer_is_cut_does_not_matter(text in "\\PC{0,30}", tokens in 0u64..99, cuts in proptest::collection::vec(0usize..200, 0..5)) {
            let body = json!({"a": [text, {"usage": 1}], "usage": {"prompt_tokens": tokens, "completion_tokens": 2}, "z": text});
            let body: Value = body;
            let bytes = body.to_string().into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let usage = read(&pieces).usage().unwrap();
            prop_assert_eq!((usage.prompt_tokens, usage.completion_tokens), (tokens, 2));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            read(&[&bytes]);
        }
    }
}
