//! `usage.prompt_tokens_details.cached_tokens` of a decode engine's answer, which must be the prefill engine's.
//!
//! A decode engine counts what it pulled as cached: nearly the whole prompt. Must not know connectors.

use bytes::{Bytes, BytesMut};

use super::fields::Fields;

/// The most bytes that are held back: a line of a stream, or an answer in one piece. A longer one passes unchanged.
const HELD_MAX: usize = 16 << 20;

/// Rewrites an answer as it passes.
#[derive(Debug)]
pub(crate) struct CachedTokens {
    /// What the prefill engine said; `None` if it said nothing, which it does for none.
    cached: Option<u64>,
    /// A stream of events is rewritten line by line, any other answer as a whole.
    is_stream: bool,
    held: BytesMut,
    given_up: bool,
}

// === impl CachedTokens ===

impl CachedTokens {
    pub(crate) fn new(cached: Option<u64>, is_stream: bool) -> Self {
        Self { cached, is_stream, held: BytesMut::new(), given_up: false }
    }

    /// What can pass now of the answer so far. Whole lines of a stream pass at once.
    pub(crate) fn push(&mut self, piece: Bytes) -> Bytes {
        if self.given_up {
            return piece;
        }
        if self.is_stream && self.held.is_empty() && piece.ends_with(b"\n") && !has_usage(&piece) {
            return piece;
        }
        self.held.extend_from_slice(&piece);
        if self.held.len() > HELD_MAX {
            self.given_up = true;
            return self.held.split().freeze();
        }
        let whole = self.held.iter().rposition(|byte| *byte == b'\n').filter(|_| self.is_stream);
        let Some(end) = whole else { return Bytes::new() };
        let lines = self.held.split_to(end + 1);
        self.rewritten(&lines)
    }

    /// What is left when the answer has ended.
    pub(crate) fn finish(&mut self) -> Bytes {
        let rest = self.held.split();
        if self.is_stream || self.given_up {
            return self.rewritten(&rest);
        }
        self.with_cached(&rest).map_or_else(|| rest.freeze(), Bytes::from)
    }

    fn rewritten(&self, lines: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(lines.len() + 64);
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_prefix(b"data:").filter(|data| has_usage(data)).and_then(|data| self.with_cached(data)) {
                Some(data) => {
                    out.extend_from_slice(b"data: ");
                    out.extend_from_slice(data.as_bytes());
                    out.extend_from_slice(if line.ends_with(b"\r\n") { b"\r\n" } else { b"\n" });
                }
                None => out.extend_from_slice(line),
            }
        }
        out.freeze()
    }

    /// The answer with the prefill engine's count; `None` if there is nothing to change.
    fn with_cached(&self, answer: &[u8]) -> Option<String> {
        let mut answer = Fields::read(answer).ok()?;
        let text = answer.raw("usage")?.to_owned();
        let mut usage = Fields::read(text.as_bytes()).ok()?;
        let details = usage.raw("prompt_tokens_details").unwrap_or("null").to_owned();
        let details = match (Fields::read(details.as_bytes()), self.cached) {
            (Ok(mut details), cached) => {
                details.set("cached_tokens", cached.unwrap_or(0).to_string());
                details.text()
            }
            (Err(_), Some(cached)) => format!(r#"{{"cached_tokens":{cached}}}"#),
            // Neither engine was started to report it.
            (Err(_), None) => return None,
        };
        usage.set("prompt_tokens_details", details);
        answer.set("usage", usage.text());
        Some(answer.text())
    }
}

fn has_usage(bytes: &[u8]) -> bool {
    bytes.windows(7).any(|window| window == b"\"usage\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(cached: Option<u64>, is_stream: bool, pieces: &[&str]) -> Vec<String> {
        let mut rewriter = CachedTokens::new(cached, is_stream);
        let mut out: Vec<Bytes> =
            pieces.iter().map(|piece| rewriter.push(Bytes::copy_from_slice(piece.as_bytes()))).collect();
        out.push(rewriter.finish());
        out.iter().map(|piece| String::from_utf8_lossy(piece).into_owned()).collect()
    }

    #[test]
    fn cached_tokens_of_a_stream_are_the_prefill_engines_however_it_is_cut() {
        let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\"\"}}],\"usage\":null}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"prompt_tokens_details\":{\"cached_tokens\":8}}}\n\ndata: [DONE]\n\n";
        let expected = stream.replace("\"cached_tokens\":8", "\"cached_tokens\":3");
        for cut in 0..stream.len() {
            let out = passed(Some(3), true, &[&stream[..cut], &stream[cut..]]);
            assert_eq!(out.concat(), expected, "cut at {cut}");
        }
    }

    #[test]
    fn whole_lines_of_a_stream_are_not_held_back() {
        let out = passed(Some(3), true, &["data: {\"a\":1}\n\n", "data: {\"usage\":{}}\n", "\n", "data: x"]);
        assert_eq!(out[0], "data: {\"a\":1}\n\n");
        assert_eq!(out[1], "data: {\"usage\":{\"prompt_tokens_details\":{\"cached_tokens\":3}}}\n");
        assert_eq!((out[2].as_str(), out[3].as_str(), out[4].as_str()), ("\n", "", "data: x"));
    }

    #[test]
    fn an_answer_in_one_piece_is_rewritten_when_it_has_ended() {
        let answer = r#"{"id":"x","usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":8,"a":1}}}"#;
        let expected = r#"{"id":"x","usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":0,"a":1}}}"#;
        assert_eq!(passed(None, false, &[&answer[..20], &answer[20..]]), ["", "", expected]);
    }

    #[test]
    fn an_answer_that_says_nothing_about_cached_tokens_passes_unchanged() {
        for answer in [r#"{"usage":{"prompt_tokens_details":null}}"#, r#"{"usage":null}"#, "{}", "no json"] {
            assert_eq!(passed(None, false, &[answer]).concat(), answer);
            assert_eq!(passed(None, true, &[answer]).concat(), answer);
        }
    }

    #[test]
    fn a_line_without_an_end_is_not_held_for_ever() {
        let mut rewriter = CachedTokens::new(Some(1), true);
        let piece = Bytes::from(vec![b'x'; HELD_MAX / 2 + 1]);
        assert!(rewriter.push(piece.clone()).is_empty());
        assert_eq!(rewriter.push(piece.clone()).len(), 2 * piece.len());
        assert_eq!(rewriter.push(piece.clone()), piece);
    }
}
