//! A body on its way through: collected up to a limit, read as one slice, sent on in pieces.
//!
//! Must not know JSON. Chunks are kept and sent on as the vectors that arrived. Bytes are copied only to join several
//! chunks into one slice, to split off what exceeds a piece, or to join small chunks. A long body is never held twice.

use std::borrow::Cow;
use std::ops::Range;

/// The largest piece in bytes: certain Envoys take no more than 64 KiB in one streamed chunk.
pub const PIECE_BYTES: usize = 62_000;

/// Chunks are joined up to this size, so that a body of one-byte chunks does not cost a vector each.
const JOINED_BYTES: usize = 8 * 1024;

/// A longer body is joined permanently before it is read, and cut again from its end. That copies it once more, and
/// holds it once.
const LONG_BYTES: usize = 4 << 20;

/// The part of a body that has arrived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    chunks: Vec<Vec<u8>>,
    bytes: usize,
}

/// The body exceeds its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

// === impl Gathered ===

impl Gathered {
    /// Adds the next chunk. If the body would be longer than `limit` bytes, it adds nothing.
    pub fn push(&mut self, chunk: Vec<u8>, limit: u64) -> Result<(), TooLarge> {
        let bytes = self.bytes.saturating_add(chunk.len());
        if bytes as u64 > limit {
            return Err(TooLarge);
        }
        self.bytes = bytes;
        match self.chunks.last_mut() {
            _ if chunk.is_empty() => {}
            Some(last) if last.len() + chunk.len() <= JOINED_BYTES => last.extend_from_slice(&chunk),
            _ => self.chunks.push(chunk),
        }
        Ok(())
    }

    /// A copy of the bytes so far.
    pub fn copied(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether no bytes arrived.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The body as one slice; borrowed when it came in one chunk, or is long.
    pub fn whole(&mut self) -> Cow<'_, [u8]> {
        if self.bytes > LONG_BYTES {
            self.join();
        }
        match self.chunks.as_slice() {
            [] => Cow::Borrowed(&[]),
            [only] => Cow::Borrowed(only),
            several => Cow::Owned(several.concat()),
        }
    }

    /// Replaces the bytes in `span` by `replacement`. A span that is not inside the body changes nothing.
    pub fn splice(&mut self, span: Range<usize>, replacement: &[u8]) {
        if span.start > span.end || span.end > self.bytes {
            return;
        }
        self.join();
        if let Some(whole) = self.chunks.last_mut() {
            whole.splice(span, replacement.iter().copied());
            self.bytes = whole.len();
        }
    }

    /// Joins all chunks into one. Each is freed as soon as it is copied.
    fn join(&mut self) {
        if self.chunks.len() != 1 {
            let mut whole = Vec::with_capacity(self.bytes);
            self.chunks.drain(..).for_each(|chunk| whole.extend_from_slice(&chunk));
            self.chunks.push(whole);
        }
    }

    /// The body in pieces of `1..=PIECE_BYTES` bytes, in order.
    pub fn into_pieces(self) -> impl Iterator<Item = Vec<u8>> {
        self.chunks.into_iter().flat_map(cut)
    }
}

/// One chunk in pieces of `1..=PIECE_BYTES` bytes. Its first piece is moved, the rest is copied. An empty chunk has no
/// piece.
pub fn cut(mut chunk: Vec<u8>) -> impl Iterator<Item = Vec<u8>> {
    let mut pieces = Vec::with_capacity(chunk.len().div_ceil(PIECE_BYTES));
    // From the end, so that what is copied can be freed.
    for start in (1..chunk.len().div_ceil(PIECE_BYTES)).rev().map(|piece| piece * PIECE_BYTES) {
        pieces.push(chunk.split_off(start));
        if chunk.capacity() - chunk.len() > LONG_BYTES {
            chunk.shrink_to_fit();
        }
    }
    if chunk.capacity() > LONG_BYTES {
        chunk.shrink_to_fit();
    }
    if !chunk.is_empty() {
        pieces.push(chunk);
    }
    pieces.into_iter().rev()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gathered(chunks: &[&[u8]]) -> Gathered {
        let mut body = Gathered::default();
        chunks.iter().for_each(|chunk| body.push(chunk.to_vec(), u64::MAX).unwrap());
        body
    }

    #[test]
    fn a_single_chunk_is_moved_in_and_out_without_a_copy() {
        let chunk = vec![7; 50_000];
        let place = chunk.as_ptr();
        let mut body = Gathered::default();
        body.push(chunk, 50_000).unwrap();
        assert!(matches!(body.whole(), Cow::Borrowed(slice) if slice.as_ptr() == place));
        let piece = body.into_pieces().next().unwrap();
        assert_eq!(piece.as_ptr(), place);
    }

    #[test]
    fn of_a_chunk_that_is_too_large_only_the_rest_is_copied() {
        let chunk = vec![7; 65_536];
        let place = chunk.as_ptr();
        let pieces: Vec<Vec<u8>> = cut(chunk).collect();
        assert_eq!((pieces[0].as_ptr(), pieces[0].len()), (place, PIECE_BYTES));
        assert_eq!((pieces.len(), pieces[1].len()), (2, 65_536 - PIECE_BYTES));
    }

    #[test]
    fn a_long_body_is_joined_in_place_and_cut_to_the_same_bytes() {
        let chunks: Vec<Vec<u8>> = (0..90).map(|n| vec![n; 65_536]).collect();
        let mut body = gathered(&chunks.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert!(matches!(body.whole(), Cow::Borrowed(whole) if whole == chunks.concat()));
        let pieces: Vec<Vec<u8>> = body.into_pieces().collect();
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES && piece.capacity() <= LONG_BYTES));
        assert_eq!(pieces.concat(), chunks.concat());
    }

    #[test]
    fn the_limit_is_the_last_size_that_passes() {
        let mut body = Gathered::default();
        assert_eq!(body.push(vec![0; 10], 10), Ok(()));
        assert_eq!(body.push(vec![0; 1], 10), Err(TooLarge));
        assert_eq!((body.len(), body.push(vec![], 10)), (10, Ok(())));
    }

    #[test]
    fn a_body_of_tiny_chunks_costs_few_vectors() {
        let mut body = Gathered::default();
        (0..100_000).for_each(|_| body.push(vec![1], u64::MAX).unwrap());
        assert!(body.chunks.len() <= 100_000 / JOINED_BYTES + 1, "{}", body.chunks.len());
    }

    #[test]
    fn a_span_outside_the_body_changes_nothing() {
        let mut body = gathered(&[b"abc"]);
        body.splice(2..4, b"x");
        assert_eq!(body, gathered(&[b"abc"]));
    }

    #[test]
    fn an_empty_body_has_no_piece() {
        assert_eq!(gathered(&[b"", b""]).into_pieces().count(), 0);
        assert_eq!(cut(Vec::new()).count(), 0);
    }

    proptest! {
        #[test]
        fn pieces_are_the_body_and_each_fits(sizes in prop::collection::vec(0usize..150_000, 0..6)) {
            let chunks: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(i, &size)| vec![i as u8; size]).collect();
            let mut body = Gathered::default();
            for chunk in &chunks {
                body.push(chunk.clone(), u64::MAX).unwrap();
            }
            prop_assert_eq!(body.whole().into_owned(), chunks.concat());
            let pieces: Vec<Vec<u8>> = body.into_pieces().collect();
            prop_assert!(pieces.iter().all(|piece| (1..=PIECE_BYTES).contains(&piece.len())));
            prop_assert_eq!(pieces.concat(), chunks.concat());
        }

        #[test]
        fn a_splice_changes_its_span_and_nothing_else(
            body in prop::collection::vec(any::<u8>(), 0..400), new in prop::collection::vec(any::<u8>(), 0..40),
            cut in any::<prop::sample::Index>(), a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>(),
        ) {
            let place = |index: prop::sample::Index| index.index(body.len() + 1);
            let (start, end) = (place(a).min(place(b)), place(a).max(place(b)));
            let (head, tail) = body.split_at(place(cut));
            let mut spliced = gathered(&[head, tail]);
            spliced.splice(start..end, &new);
            let expected = [&body[..start], &new, &body[end..]].concat();
            prop_assert_eq!(spliced.len(), expected.len());
            prop_assert_eq!(spliced.whole().into_owned(), expected);
        }
    }
}
