//! The emulated tokenizer: four bytes of text are one token. So texts with equal beginnings have token lists with equal
//! beginnings, and an answer that returns in a later prompt gives the tokens it was made of.
//!
//! Must not know JSON.

use murmuration::chance::mix;
use xxhash_rust::xxh3::xxh3_64;

/// Tokens that an image or another item takes.
const MEDIA_TOKENS: usize = 576;

/// Tokens that a chat template adds before a message, and as many after it.
const FRAME_TOKENS: usize = 2;

/// A prompt that is being assembled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    ids: Vec<u32>,
    items: Vec<u64>,
}

// === impl Tokens ===

impl Tokens {
    /// The tokens of `text` alone.
    pub(super) fn of(text: &str) -> Self {
        let mut tokens = Self::default();
        tokens.text(text);
        tokens
    }

    /// Adds `text`.
    pub(super) fn text(&mut self, text: &str) {
        self.ids.extend(text.as_bytes().chunks(4).map(|piece| {
            let mut bytes = [0u8; 4];
            bytes[..piece.len()].copy_from_slice(piece);
            u32::from_le_bytes(bytes)
        }));
    }

    /// Adds an item that is not text, by the JSON that describes it.
    pub(super) fn media(&mut self, item: &str) {
        let hash = xxh3_64(item.as_bytes());
        self.items.push(hash);
        self.hashed(hash, MEDIA_TOKENS);
    }

    /// Adds what a chat template puts before a message of `role`.
    pub(super) fn message_begins(&mut self, role: &str) {
        self.hashed(xxh3_64(role.as_bytes()), FRAME_TOKENS);
    }

    /// Adds what a chat template puts after a message.
    pub(super) fn message_ends(&mut self) {
        self.hashed(xxh3_64(b"end of message"), FRAME_TOKENS);
    }

    /// Hashes of the items that are not text.
    pub(super) fn items(&self) -> &[u64] {
        &self.items
    }

    /// The list.
    pub(super) fn into_ids(self) -> Vec<u32> {
        self.ids
    }

    fn hashed(&mut self, seed: u64, count: usize) {
        self.ids.extend((0..count as u64).map(|i| mix(seed.wrapping_add(i)) as u32));
    }
}

/// The text of an answer's token.
pub(super) fn text_of(token: u32) -> String {
    String::from_utf8_lossy(&token.to_le_bytes()).into_owned()
}

/// How many tokens an answer to `prompt` has without a bound: 32 to 159, the same on every engine.
pub(super) fn natural_length(prompt: &[u32]) -> usize {
    let hash = prompt.iter().fold(1u64, |hash, &token| mix(hash ^ u64::from(token)));
    32 + (hash % 128) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_beginnings_of_texts_are_equal_beginnings_of_tokens() {
        let (short, long) = (Tokens::of("once upon").into_ids(), Tokens::of("once upon a time").into_ids());
        assert_eq!((short.len(), long.len()), (3, 4));
        assert_eq!(short[..2], long[..2]);
        assert_ne!(short[2], long[2]);
    }

    #[test]
    fn an_answer_reads_as_the_tokens_it_was_made_of() {
        let tokens = [u32::from_le_bytes(*b" abc"), u32::from_le_bytes(*b" xyz")];
        let text: String = tokens.iter().map(|token| text_of(*token)).collect();
        assert_eq!(Tokens::of(&text).into_ids(), tokens);
    }

    #[test]
    fn an_answer_without_a_bound_ends_by_itself() {
        let lengths: Vec<usize> = (0..1000).map(|i| natural_length(&[i])).collect();
        assert!(lengths.iter().all(|length| (32..160).contains(length)));
        assert!(lengths.iter().any(|length| *length != lengths[0]));
    }
}
