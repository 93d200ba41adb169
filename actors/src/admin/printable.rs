//! Makes untrusted text harmless for a terminal.
//!
//! Must not know where it is shown. Clients write model names and request ids, and may hide terminal commands in them,
//! or reverse the direction of the line.

use std::borrow::Cow;

/// Characters that are shown of one text.
const SHOWN_MAX: usize = 512;

/// `text` with every invisible character written as an escape, cut after 512 characters.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.len() <= SHOWN_MAX && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len().min(4 * SHOWN_MAX));
    for (nth, character) in text.chars().enumerate() {
        if nth == SHOWN_MAX {
            shown.push_str("...");
            break;
        }
        match character {
            '"' | '\'' | '\\' => shown.push(character),
            // This escapes controls, direction marks and characters without width.
            _ => shown.extend(character.escape_debug()),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_to_a_terminal_become_text() {
        for (bad, good) in [
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("a\nb\rc\u{7f}", "a\\nb\\rc\\u{7f}"),
            ("a\u{202e}b\u{200b}", "a\\u{202e}b\\u{200b}"),
            ("h\u{f6}rt \"it\" \\ 'so'", "h\u{f6}rt \"it\" \\ 'so'"),
        ] {
            assert_eq!(printable(bad), good);
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(printable(&"x".repeat(10_000)).len(), SHOWN_MAX + 3);
    }
}
