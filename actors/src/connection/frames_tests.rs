//! Frames as a client sends them, whole and in pieces.

use proptest::prelude::*;

use super::*;

const BAD: &[u8] = b"outbound|9002||picker.ns.svc.cluster.local";
const GOOD: &[u8] = b"outbound-9002--picker.ns.svc.cluster.local";

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

/// A HEADERS frame with this authority, padding and priority.
fn headers(authority: &[u8], raw: bool, padding: Option<u8>, priority: bool) -> Vec<u8> {
    let value = if raw { authority.to_vec() } else { super::super::huffman::encode(authority) };
    let length = value.len() as u8 | if raw { 0 } else { 0x80 };
    let mut payload = Vec::from_iter(padding);
    if priority {
        payload.extend([0x80, 0, 0, 0, 7]);
    }
    payload.extend([0x83, 0x86, 0x41, length]);
    payload.extend(value);
    payload.push(0x84);
    payload.extend(vec![0; padding.unwrap_or(0).into()]);
    let flags = 0x4 | if padding.is_some() { PADDED } else { 0 } | if priority { PRIORITY } else { 0 };
    frame(HEADERS, flags, &payload)
}

/// The bytes that are passed on if the input arrives in these pieces and the caller follows [`Frames::walk`].
fn passed(bytes: &[u8], pieces: impl Iterator<Item = usize>) -> Vec<u8> {
    let (mut frames, mut passed, mut kept, mut rest) = (Frames::new(), Vec::new(), Vec::new(), bytes);
    for piece in pieces.chain([usize::MAX]) {
        let (next, after) = rest.split_at(piece.min(rest.len()));
        kept.extend_from_slice(next);
        let walked = frames.walk(&mut kept);
        passed.extend_from_slice(&kept[..walked.passed]);
        kept.drain(..walked.kept_from);
        rest = after;
    }
    passed.extend(kept);
    passed
}

fn whole(bytes: &[u8]) -> Vec<u8> {
    passed(bytes, [].into_iter())
}

fn sequences() -> impl Strategy<Value = Vec<u8>> {
    let any_frame =
        (0..10_u8, any::<u8>(), proptest::collection::vec(any::<u8>(), 0..60)).prop_map(|(k, f, p)| frame(k, f, &p));
    let named = (any::<bool>(), any::<bool>(), proptest::option::of(0..40_u8), any::<bool>())
        .prop_map(|(bad, raw, padding, priority)| headers(if bad { BAD } else { GOOD }, raw, padding, priority));
    let frames = proptest::collection::vec(prop_oneof![any_frame, named], 0..12);
    (any::<bool>(), frames)
        .prop_map(|(preface, frames)| [if preface { PREFACE } else { b"" }, &frames.concat()].concat())
}

#[test]
fn an_authority_is_repaired_in_every_kind_of_headers_frame() {
    for raw in [true, false] {
        for (padding, priority) in [(None, false), (Some(0), false), (Some(30), true), (Some(255), false), (None, true)]
        {
            let [bad, good] = [BAD, GOOD].map(|name| headers(name, raw, padding, priority));
            let data = frame(DATA, 0, b"body");
            let bytes = [PREFACE, &frame(4, 0, b""), &bad, &data, &bad, &data].concat();
            let expected = [PREFACE, &frame(4, 0, b""), &good, &data, &good, &data].concat();
            assert_eq!(whole(&bytes), expected, "{raw} {padding:?} {priority}");
            for split in 0..bytes.len() {
                assert_eq!(passed(&bytes, [split].into_iter()), expected, "split at {split}");
            }
            assert_eq!(passed(&bytes, std::iter::repeat_n(1, bytes.len())), expected, "byte by byte");
        }
    }
}

#[test]
fn padding_that_is_longer_than_its_frame_is_left_to_the_server() {
    let mut bad = headers(BAD, true, Some(3), false);
    bad[HEAD] = 255;
    let bytes = [PREFACE, &bad].concat();
    assert_eq!(whole(&bytes), bytes);
    let bytes = [PREFACE, &frame(HEADERS, PADDED | PRIORITY, b""), &frame(HEADERS, PRIORITY, b"abc")].concat();
    assert_eq!(whole(&bytes), bytes);
}

#[test]
fn a_frame_that_is_too_large_is_not_held() {
    let large = frame(HEADERS, 4, &vec![0x83; FRAME_MAX + 1]);
    let mut bytes = [PREFACE, &large[..100]].concat();
    let length = bytes.len();
    assert_eq!(Frames::new().walk(&mut bytes), Walked { passed: length, kept_from: length });
}

#[test]
fn bytes_that_are_not_http2_are_unchanged() {
    let bytes = [b"PRI * HTTP/1.1\r\n\r\n".as_slice(), &headers(BAD, true, None, false)].concat();
    assert_eq!(whole(&bytes), bytes);
}

proptest! {
    #[test]
    fn pieces_of_any_size_give_the_same_bytes(bytes in sequences(), pieces in proptest::collection::vec(0..50_usize, 0..40)) {
        prop_assert_eq!(passed(&bytes, pieces.into_iter()), whole(&bytes));
    }

    #[test]
    fn repaired_frames_are_not_changed_again(bytes in sequences()) {
        let once = whole(&bytes);
        prop_assert_eq!(whole(&once), once);
    }

    #[test]
    fn without_a_bad_authority_every_byte_stays(
        frames in proptest::collection::vec((0..10_u8, any::<u8>(), proptest::collection::vec(0x80..0xbe_u8, 0..60)), 0..12),
        pieces in proptest::collection::vec(0..50_usize, 0..40),
    ) {
        // Bytes from 0x80 on are indexed fields: such a block has no literal authority.
        let frames: Vec<u8> = frames.iter().flat_map(|(kind, flags, payload)| frame(*kind, flags & !PADDED & !PRIORITY, payload)).collect();
        let bytes = [PREFACE, &frames, &headers(GOOD, false, Some(4), true)].concat();
        prop_assert_eq!(passed(&bytes, pieces.into_iter()), bytes);
    }

    #[test]
    fn random_bytes_do_not_panic_or_grow(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let bytes = [PREFACE, &bytes].concat();
        prop_assert!(whole(&bytes).len() <= bytes.len());
    }
}
