//! Token counts that an engine reports in its responses, field by field. Of each count the last number is kept.
//!
//! Knows the names of OpenAI's chat, completions, embeddings and responses APIs and of Anthropic's messages. A field of
//! the wrong type is skipped and does not affect other fields.
//!
//! Must not know how a response is framed; `json_answer` finds the piece of JSON that is read here.

use crate::dialect::cursor::{Cursor, Kind, Misread};
use crate::request::Usage;

/// The counts that were reported; a response may spread them over several events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    prompt: Option<u64>,
    completion: Option<u64>,
    cached: Option<u64>,
}

// === impl Counts ===

impl Counts {
    /// The counts in the value of a `usage` key. If the value is cut off, the fields before the cut count.
    pub fn read(json: &[u8]) -> Self {
        let mut counts = Self::default();
        // An error ends the reading; what was read before it counts.
        let _ = counts.fields(&mut Cursor::new(json));
        counts
    }

    /// Takes over the counts that `newer` has.
    pub fn take(&mut self, newer: Self) {
        self.prompt = newer.prompt.or(self.prompt);
        self.completion = newer.completion.or(self.completion);
        self.cached = newer.cached.or(self.cached);
    }

    /// The usage, once the count of the prompt or of the completion is known.
    pub fn usage(&self) -> Option<Usage> {
        self.prompt.or(self.completion)?;
        Some(Usage {
            prompt_tokens: self.prompt.unwrap_or(0),
            completion_tokens: self.completion.unwrap_or(0),
            cached_tokens: self.cached,
        })
    }

    fn fields(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Misread> {
        cursor.open(b'{')?;
        let mut first = true;
        while let Some(key) = cursor.key(&mut first)? {
            match key {
                b"prompt_tokens" | b"input_tokens" => put(&mut self.prompt, cursor)?,
                b"completion_tokens" | b"output_tokens" => put(&mut self.completion, cursor)?,
                b"cache_read_input_tokens" => put(&mut self.cached, cursor)?,
                b"prompt_tokens_details" | b"input_tokens_details" if cursor.kind()? == Kind::Object => {
                    self.details(cursor)?;
                }
                _ => {
                    cursor.skip()?;
                }
            }
        }
        Ok(())
    }

    fn details(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Misread> {
        cursor.open(b'{')?;
        let mut first = true;
        while let Some(key) = cursor.key(&mut first)? {
            match key {
                b"cached_tokens" => put(&mut self.cached, cursor)?,
                _ => {
                    cursor.skip()?;
                }
            }
        }
        Ok(())
    }
}

/// Reads a count; a value that is no number is skipped.
fn put(count: &mut Option<u64>, cursor: &mut Cursor<'_>) -> Result<(), Misread> {
    match cursor.kind()? {
        Kind::Number => *count = whole(cursor.scalar()?).or(*count),
        _ => {
            cursor.skip()?;
        }
    }
    Ok(())
}

/// A number of tokens; some engines write it as a float.
fn whole(text: &[u8]) -> Option<u64> {
    /// Above this, floats can't hold every whole number; no prompt is as long.
    const MAX: f64 = (1u64 << 53) as f64;
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let number: f64 = text.parse().ok()?;
    (0.0..=MAX).contains(&number).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(json: &str) -> Option<(u64, u64, Option<u64>)> {
        let usage = Counts::read(json.as_bytes()).usage()?;
        Some((usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens))
    }

    #[test]
    fn each_field_counts_by_itself_and_the_last_number_wins() {
        let cases = [
            (
                r#"{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4}}"#,
                Some((7, 3, Some(4))),
            ),
            (r#"{"prompt_tokens":7,"input_tokens":8,"output_tokens":3,"completion_tokens":2}"#, Some((8, 2, None))),
            (r#"{"input_tokens":8,"prompt_tokens":null,"output_tokens":"3"}"#, Some((8, 0, None))),
            (r#"{"prompt_tokens":7.0,"completion_tokens":1.2e1}"#, Some((7, 12, None))),
            (r#"{"prompt_tokens":-7,"completion_tokens":NaN}"#, None),
            (
                r#"{"prompt_tokens":7,"prompt_tokens_details":"none","cache_read_input_tokens":2}"#,
                Some((7, 0, Some(2))),
            ),
            (r#"{"prompt_tokens":7,"prompt_tokens_details":{"cached_tokens":null}}"#, Some((7, 0, None))),
            (r#"{"prompt_tokens":7,"prompt_tokens":9}"#, Some((9, 0, None))),
            (r#"{"prompt_tokens":7,"total_tokens":7}"#, Some((7, 0, None))),
            (r#"{"prompt_tokens":7,"x":["cut off"#, Some((7, 0, None))),
            (r#"{"prompt_tokens":1e300}"#, None),
            ("null", None),
            ("[1]", None),
            ("{}", None),
        ];
        for (json, expected) in cases {
            assert_eq!(counts(json), expected, "{json}");
        }
    }
}
