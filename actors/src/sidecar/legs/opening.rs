//! The beginning of an answer whose engine may still wait for blocks: comments of a stream, by which it says nothing.
//!
//! Must not know legs.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

/// The longest comment.
const COMMENT_MAX: usize = 16 << 10;

/// What came of an answer, without comments before its first data.
#[derive(Debug)]
pub(super) struct Opening {
    is_stream: bool,
    held: BytesMut,
}

// === impl Opening ===

impl Opening {
    /// The opening of an answer that is a stream of events, or of any other, which has no comments.
    pub(super) fn new(is_stream: bool) -> Self {
        Self { is_stream, held: BytesMut::new() }
    }

    /// Takes a piece. Whether the engine has said nothing yet.
    pub(super) fn says_nothing(&mut self, piece: &[u8]) -> bool {
        self.held.extend_from_slice(piece);
        if !self.is_stream {
            return self.held.is_empty();
        }
        while let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
            let line = &self.held[..end];
            if !line.starts_with(b":") && !line.trim_ascii().is_empty() {
                return false;
            }
            self.held.advance(end + 1);
        }
        // The end of this line has not come.
        let may_be_a_comment = self.held.starts_with(b":") || self.held.trim_ascii().is_empty();
        may_be_a_comment && self.held.len() <= COMMENT_MAX
    }

    /// What is passed on.
    pub(super) fn into_pieces(self) -> VecDeque<Bytes> {
        let held = (!self.held.is_empty()).then(|| self.held.freeze());
        held.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many bytes of `stream` say nothing, and what is passed on then.
    fn opened(is_stream: bool, pieces: &[&[u8]]) -> (usize, Vec<u8>) {
        let mut opening = Opening::new(is_stream);
        let quiet = pieces.iter().take_while(|piece| opening.says_nothing(piece)).count();
        (quiet, opening.into_pieces().iter().flatten().copied().collect())
    }

    #[test]
    fn comments_of_a_stream_say_nothing_however_they_are_cut() {
        let stream = b": keep-alive\n\n\r\n: \xff\n\ndata: x\n\n";
        for cut in 0..stream.len() {
            let (quiet, passed) = opened(true, &[&stream[..cut], &stream[cut..]]);
            let began = cut > stream.len() - b"data: x\n\n".len();
            assert_eq!(quiet, usize::from(!began), "cut at {cut}");
            let expected = if began { &b"data: x\n\n"[..cut - (stream.len() - 9)] } else { &b"data: x\n\n"[..] };
            assert_eq!(passed, expected, "cut at {cut}");
        }
    }

    #[test]
    fn every_other_answer_speaks_with_its_first_byte() {
        for answer in [&b"\n"[..], b": a\n", b"{}"] {
            assert_eq!(opened(false, &[answer]), (0, answer.to_vec()));
        }
        assert_eq!(opened(false, &[b"", b"{}"]), (1, b"{}".to_vec()));
    }

    #[test]
    fn a_comment_without_an_end_is_not_held_for_ever() {
        let comment = [b": ".as_slice(), &[b'x'; COMMENT_MAX]].concat();
        assert_eq!(opened(true, &[&comment]), (0, comment));
    }
}
