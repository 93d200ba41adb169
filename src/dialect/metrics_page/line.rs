//! One line of Prometheus text: `family{label="value",...} value [timestamp]`.
//!
//! Must not know which families matter.

use std::borrow::Cow;

use memchr::memchr2;

use super::page_error::PageError;

/// A line of a family that matters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample<'a> {
    family: &'a str,
    labels: &'a str,
    value: &'a str,
}

/// The family's name: all before the first `{` or blank.
pub(super) fn family(line: &[u8]) -> &[u8] {
    let end = memchr2(b'{', b' ', line).unwrap_or(line.len());
    &line[..end]
}

// === impl Sample ===

impl<'a> Sample<'a> {
    pub(super) fn read(line: &'a [u8]) -> Result<Self, PageError> {
        let torn = || {
            PageError::Torn(format!("a line can't be read: {:?}", String::from_utf8_lossy(&line[..line.len().min(80)])))
        };
        let text = std::str::from_utf8(line).map_err(|_| torn())?;
        let end = text.find(['{', ' ']).ok_or_else(torn)?;
        let (family, rest) = text.split_at(end);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(inside) => {
                let end = labels_end(inside).ok_or_else(torn)?;
                (&inside[..end], &inside[end + 1..])
            }
            None => ("", rest),
        };
        let value = rest.split_ascii_whitespace().next().ok_or_else(torn)?;
        Ok(Self { family, labels, value })
    }

    /// The labels in the order of the line, values unescaped. They end at the first that can't be read.
    pub(super) fn labels(&self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
        let mut rest = self.labels;
        std::iter::from_fn(move || {
            let (key, after) = rest.split_once("=\"")?;
            let end = string_end(after)?;
            rest = &after[end + 1..];
            Some((key.trim_start_matches([',', ' ']), unescaped(&after[..end])))
        })
    }

    /// The value of a label, unescaped.
    pub(super) fn label(&self, wanted: &str) -> Option<Cow<'a, str>> {
        self.labels().find(|(name, _)| *name == wanted).map(|(_, value)| value)
    }

    /// The value, any number.
    pub(super) fn value(&self) -> Result<f64, PageError> {
        self.value.parse().map_err(|_| self.bad())
    }

    /// The value as a whole number from zero to `most`; `None` where it is none.
    pub(super) fn whole_number(&self, most: u64) -> Option<u64> {
        let value: f64 = self.value.parse().ok()?;
        // NaN is in no range. A float that is at most `most` casts without loss of more than its own precision.
        (0.0..=most as f64).contains(&value).then_some(value as u64)
    }

    /// The error for an impossible value.
    pub(super) fn bad(&self) -> PageError {
        PageError::BadNumber { family: self.family.to_owned(), text: self.value.chars().take(40).collect() }
    }
}

/// Where the label set ends: the first `}` outside of quotes.
fn labels_end(text: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let next = at + text[at..].find(['"', '}'])?;
        if text.as_bytes()[next] == b'}' {
            return Some(next);
        }
        at = next + 1 + string_end(&text[next + 1..])? + 1;
    }
}

/// Where a quoted string ends: the first quote that is not escaped.
fn string_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next().map(|c| if c == 'n' { '\n' } else { c })),
            c => plain.push(c),
        }
    }
    Cow::Owned(plain)
}
