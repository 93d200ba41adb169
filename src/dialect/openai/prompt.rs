//! From the pieces of a prompt to its chain and size.
//!
//! Must not know JSON beyond a list of numbers. Text is hashed as it stands in the body, escapes and all: clients write
//! one text one way, and nothing has to be decoded for a hint.

use std::ops::Range;

use crate::dialect::openai::RequestBody;
use crate::prefix::{ChainBuilder, Cut};
use crate::request::Prompt;

/// A part of the body that the model will read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What it is.
    pub kind: PieceKind,
    /// Where it is.
    pub span: Range<usize>,
}

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// JSON text, hashed as it stands.
    Text,
    /// An image, audio or video item: hashed, and not counted as text.
    Media,
    /// A JSON list of token ids.
    Ids,
}

/// Tokens that an image or another item is taken for where nothing better is known.
const MEDIA_TOKENS: u64 = 576;

// === impl Piece ===

impl Piece {
    pub(super) fn text(span: Range<usize>) -> Self {
        Self { kind: PieceKind::Text, span }
    }

    pub(super) fn media(span: Range<usize>) -> Self {
        Self { kind: PieceKind::Media, span }
    }

    pub(super) fn ids(span: Range<usize>) -> Self {
        Self { kind: PieceKind::Ids, span }
    }

    fn tag(&self) -> u8 {
        match self.kind {
            PieceKind::Text => 1,
            PieceKind::Media => 2,
            PieceKind::Ids => 3,
        }
    }
}

/// The prompt of `body` for `model`: its size, its chain, and the hash of all of its content (model, salt and prompt).
///
/// Each piece is preceded by one byte that tells its kind, and nothing tells lengths, so a conversation that goes on
/// shares every block with its former self. A list of prompts is chained as one.
pub fn read_prompt(body: &[u8], read: &RequestBody, model: &str, cut: Cut) -> (Prompt, u64) {
    let mut chain = ChainBuilder::new(cut, model, read.cache_salt.as_deref());
    let (mut text_bytes, mut tokens) = (0u64, 0u64);
    for piece in &read.pieces {
        let bytes = body.get(piece.span.clone()).unwrap_or_default();
        chain.push(&[piece.tag()]);
        match piece.kind {
            PieceKind::Text => {
                chain.push(bytes);
                text_bytes += bytes.len() as u64;
            }
            PieceKind::Media => {
                chain.push(bytes);
                tokens += MEDIA_TOKENS;
            }
            PieceKind::Ids => {
                for id in ids(bytes) {
                    chain.push(&id.to_le_bytes());
                    tokens += 1;
                }
            }
        }
    }
    tokens += text_bytes.div_ceil(u64::from(cut.bytes_per_token.max(1)));
    let (chain, content_hash) = chain.finish();
    (Prompt { tokens, chain }, content_hash)
}

/// The numbers of a JSON list that is known to hold nothing else.
fn ids(list: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let numbers = list.split(|byte| !byte.is_ascii_digit()).filter(|digits| !digits.is_empty());
    numbers
        .map(|digits| digits.iter().fold(0u32, |id, digit| id.wrapping_mul(10).wrapping_add(u32::from(digit - b'0'))))
}
