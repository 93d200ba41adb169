//! The input of a prompt's hash: text and tags that can't be mistaken for each other.
//!
//! Text is decoded first, so that two spellings of one text hash alike. Each piece begins with a byte that no UTF-8
//! text contains. Lengths are left out, so a longer conversation shares every full block of its earlier state.
//!
//! Must not know JSON's structure beyond tokens, nor which field is which.

use crate::dialect::cursor::Token;
use crate::dialect::json_text::decode;
use crate::prefix::{BlockSpec, ChainBuilder};
use crate::request::Prompt;

/// Tokens that an image or another item counts as where nothing better is known.
pub(super) const MEDIA_TOKENS: u64 = 576;

/// Bytes of decoded text that are buffered before they are hashed.
const BUFFER_BYTES: usize = 512;

/// The byte that begins a piece. The values occur in no UTF-8 text, nor in a decoded lone surrogate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Tag {
    /// Token ids, four bytes each, to the next tag at a multiple of four.
    Ids = 0xf8,
    /// The digest of settings, or of an image.
    Digest = 0xf9,
    /// A message of a conversation; its role follows.
    Message = 0xfa,
    /// A text that the model reads as it is.
    Text = 0xfb,
    /// A named field.
    Field = 0xfc,
    /// A string within JSON.
    String = 0xfd,
    /// A number, boolean or null within JSON.
    Scalar = 0xfe,
    /// An opening or closing bracket within JSON.
    Bracket = 0xff,
}

/// A chain under construction, and the size of its input.
#[derive(Debug)]
pub(super) struct Feed {
    chain: ChainBuilder,
    spec: BlockSpec,
    text_bytes: u64,
    tokens: u64,
    media: u32,
}

/// The hash of a value that counts as a whole.
#[derive(Debug)]
pub(super) struct Digest {
    chain: ChainBuilder,
    fed: bool,
}

// === impl Feed ===

impl Feed {
    pub(super) fn new(spec: BlockSpec, model: &str, salt: Option<&str>) -> Self {
        Self { chain: ChainBuilder::new(spec, model, salt), spec, text_bytes: 0, tokens: 0, media: 0 }
    }

    pub(super) fn tag(&mut self, tag: Tag) {
        self.chain.push(&[tag as u8]);
    }

    /// The inside of a JSON string, decoded.
    pub(super) fn text(&mut self, raw: &[u8]) {
        // A text with many escapes comes in many short pieces, and each push has a cost.
        let (mut buffer, mut used) = ([0u8; BUFFER_BYTES], 0);
        let Self { chain, text_bytes, .. } = self;
        decode(raw, |piece| {
            *text_bytes += piece.len() as u64;
            if used + piece.len() > BUFFER_BYTES {
                chain.push(&buffer[..used]);
                used = 0;
            }
            match buffer.get_mut(used..used + piece.len()) {
                Some(place) => {
                    place.copy_from_slice(piece);
                    used += piece.len();
                }
                None => chain.push(piece),
            }
        });
        chain.push(&buffer[..used]);
    }

    /// A token of some JSON, independent of blanks and escapes. Keys keep their order, in which templates print them.
    pub(super) fn token(&mut self, token: Token<'_>) {
        match token {
            Token::Open(bracket) | Token::Close(bracket) => self.chain.push(&[Tag::Bracket as u8, bracket]),
            Token::Key(raw) => {
                self.tag(Tag::Field);
                self.text(raw);
            }
            Token::String(raw) => {
                self.tag(Tag::String);
                self.text(raw);
            }
            Token::Scalar(text) => {
                self.tag(Tag::Scalar);
                self.text(text);
            }
        }
    }

    pub(super) fn begin_ids(&mut self) {
        self.tag(Tag::Ids);
    }

    pub(super) fn id(&mut self, id: u32) {
        self.chain.push(&id.to_le_bytes());
        self.tokens += 1;
    }

    /// An image, audio or video: as many bytes of its digest as its tokens stand for, however large its data is.
    pub(super) fn media(&mut self, digest: Digest) {
        let Some(hash) = digest.finish() else { return };
        self.tag(Tag::Digest);
        let bytes = MEDIA_TOKENS * u64::from(self.spec.bytes_per_token.max(1));
        (0..bytes.div_ceil(8)).for_each(|_| self.chain.push(&hash));
        self.tokens += MEDIA_TOKENS;
        self.media = self.media.saturating_add(1);
    }

    /// What changes the prompt without being part of its text.
    pub(super) fn settings(&mut self, digest: Digest) {
        if let Some(hash) = digest.finish() {
            self.tag(Tag::Digest);
            self.chain.push(&hash);
        }
    }

    pub(super) fn digest(&self) -> Digest {
        let spec = BlockSpec { blocks_max: 0, ..self.spec };
        Digest { chain: ChainBuilder::new(spec, "", None), fed: false }
    }

    /// The prompt, and the hash of all content.
    pub(super) fn finish(self) -> (Prompt, u64) {
        let tokens = self.tokens + self.text_bytes.div_ceil(u64::from(self.spec.bytes_per_token.max(1)));
        let (chain, content_hash) = self.chain.finish();
        (Prompt::estimated(tokens, self.media, chain), content_hash)
    }
}

// === impl Digest ===

impl Digest {
    pub(super) fn name(&mut self, name: &str) {
        self.fed = true;
        self.chain.push(&[Tag::Field as u8]);
        self.chain.push(name.as_bytes());
    }

    pub(super) fn token(&mut self, token: Token<'_>) {
        self.fed = true;
        let (tag, raw) = match token {
            Token::Open(bracket) | Token::Close(bracket) => return self.chain.push(&[Tag::Bracket as u8, bracket]),
            Token::Key(raw) => (Tag::Field, raw),
            Token::String(raw) => (Tag::String, raw),
            Token::Scalar(raw) => (Tag::Scalar, raw),
        };
        self.chain.push(&[tag as u8]);
        decode(raw, |piece| self.chain.push(piece));
    }

    fn finish(self) -> Option<[u8; 8]> {
        self.fed.then(|| self.chain.finish().1.to_le_bytes())
    }
}
