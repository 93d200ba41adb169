//! The prompts of clients: conversations that grow, as text for replicas and as tokens for engines.
//!
//! Must not know when they are sent, or to which replica. Text follows from numbers: equal numbers give equal prefixes.

use std::fmt::Write as _;

use murmuration::chance::mix;
use murmuration_kit::text::push_words;

/// Turns of a conversation, after which a new one replaces it.
const TURNS: u64 = 6;

/// One prompt, as the numbers that its text follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prompt {
    /// The conversation.
    pub(super) conversation: u64,
    /// Its turns so far.
    pub(super) turns: u64,
    /// Bytes of each turn.
    pub(super) bytes: usize,
    /// Whether it begins with the prefix that all hot prompts share.
    pub(super) hot: bool,
    /// Additional bytes after the last turn.
    pub(super) extra: usize,
}

/// All conversations, with their turns so far.
#[derive(Debug)]
pub(super) struct Conversations {
    turns: Vec<u64>,
    bytes: usize,
}

// === impl Conversations ===

impl Conversations {
    /// `count` conversations, whose turns have `bytes` bytes each.
    pub(super) fn new(count: usize, bytes: usize) -> Self {
        Self { turns: vec![0; count.max(1)], bytes }
    }

    /// The next prompt of the conversation at `which`, a number in `0..1`.
    pub(super) fn next(&mut self, which: f64) -> Prompt {
        let at = ((which * self.turns.len() as f64) as usize).min(self.turns.len() - 1);
        let prompt = self.prompt(at);
        self.turns[at] += 1;
        prompt
    }

    /// The next prompt of the conversation at `at`, which does not advance.
    pub(super) fn prompt(&self, at: usize) -> Prompt {
        let at = at % self.turns.len();
        let turns = self.turns[at];
        let conversation = mix(at as u64 + 1).wrapping_add(turns / TURNS);
        Prompt { conversation, turns: turns % TURNS + 1, bytes: self.bytes, hot: false, extra: 0 }
    }
}

// === impl Prompt ===

impl Prompt {
    /// The text: lower-case letters and blanks.
    pub(super) fn text(&self) -> String {
        let mut text = String::with_capacity(self.bytes * self.turns as usize + self.extra + 1_024);
        let opening = if self.hot { 1 } else { mix(self.conversation) };
        push_words(&mut text, opening, self.bytes.min(1_024));
        for turn in 0..self.turns {
            push_words(&mut text, mix(self.conversation ^ (turn + 1)), self.bytes);
        }
        push_words(&mut text, !self.conversation, self.extra);
        text
    }

    /// The request body, for an answer of at most `tokens` tokens.
    pub(super) fn body(text: &str, tokens: u32, streamed: bool) -> Vec<u8> {
        let mut body = String::with_capacity(text.len() + 96);
        let _ = write!(body, r#"{{"model":"tiny","max_tokens":{tokens},"stream":{streamed},"prompt":"{text}"}}"#);
        body.into_bytes()
    }

    /// The text's tokens: four bytes each.
    pub(super) fn tokens(text: &str) -> Vec<u32> {
        let token = |piece: &[u8]| {
            let mut bytes = [0; 4];
            bytes[..piece.len()].copy_from_slice(piece);
            u32::from_le_bytes(bytes)
        };
        text.as_bytes().chunks(4).map(token).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_later_the_prompt_is_longer_and_begins_the_same() {
        let mut conversations = Conversations::new(2, 100);
        let (first, second) = (conversations.next(0.0).text(), conversations.next(0.0).text());
        assert!(second.len() > first.len() && second.starts_with(&first));
        assert!(!conversations.next(0.9).text().starts_with(&first[..20]));
        let hot = |which| Prompt { hot: true, ..Conversations::new(2, 100).next(which) }.text();
        assert_eq!(hot(0.0)[..100], hot(0.9)[..100]);
    }
}
