//! What the screen accepts, and what it refuses.
#![allow(clippy::unwrap_used)]

use chitchat::{ChitchatMessage, Deserializable};
use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::ZERO;

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_le_bytes(), text.as_bytes()].concat()
}

fn id(name: &str, generation: u64) -> Vec<u8> {
    [text(name), generation.to_le_bytes().to_vec(), vec![4, 127, 0, 0, 1, 1, 0]].concat()
}

fn node_of(name: &str, generation: u64) -> Vec<u8> {
    [vec![0], id(name, generation), vec![0; 16]].concat()
}

fn value(key: &str, value: &str, version: u64) -> Vec<u8> {
    [vec![1], text(key), text(value), version.to_le_bytes().to_vec(), vec![0]].concat()
}

fn version(version: u64) -> Vec<u8> {
    [vec![2], version.to_le_bytes().to_vec()].concat()
}

fn plain(bytes: &[u8]) -> Vec<u8> {
    [vec![2], (bytes.len() as u16).to_le_bytes().to_vec(), bytes.to_vec()].concat()
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let block = zstd::bulk::compress(bytes, 19).unwrap();
    [vec![1], (block.len() as u16).to_le_bytes().to_vec(), block].concat()
}

/// An acknowledgement with these blocks.
fn ack(blocks: &[u8]) -> Vec<u8> {
    [&[0x53, 0xb0, 0, 2], blocks, &[0]].concat()
}

fn delta(operations: &[Vec<u8>]) -> Vec<u8> {
    ack(&plain(&operations.concat()))
}

fn syn(nodes: impl ExactSizeIterator<Item = (String, u64)>) -> Vec<u8> {
    let mut message = vec![0x53, 0xb0, 0, 0];
    message.extend_from_slice(&(nodes.len() as u16).to_le_bytes());
    nodes.for_each(|(name, version)| {
        let numbers = [1, 0, version].map(u64::to_le_bytes).concat();
        message.extend_from_slice(&[id(&name, 1), numbers].concat());
    });
    [message, text("tier")].concat()
}

fn check(message: &[u8]) -> Result<(), ScreenError> {
    Screen::new("me", Incarnation(5)).check(message, NOW)
}

/// A regression: one datagram of 59 KB that inflates to hundreds of megabytes.
#[test]
fn a_bomb_is_refused_before_it_is_inflated() {
    let zeros = deflated(&vec![0; BLOCK_MAX]);
    let bomb = ack(&zeros.repeat(59_000 / zeros.len()));
    assert!(bomb.len() > 58_000 && 59_000 / zeros.len() * BLOCK_MAX > 100 << 20);
    assert_eq!(check(&bomb), Err(ScreenError::TooLarge));
    let oversized = deflated(&vec![0; 2 * BLOCK_MAX]);
    assert_eq!(check(&ack(&oversized)), Err(ScreenError::Malformed), "one block beyond chitchat's own buffer");
}

#[test]
fn honest_messages_pass_deflated_or_not() {
    let honest =
        [node_of("b", 1), value("card", "{}", 1), value("f0", "word", 7), node_of("c", 2), version(9)].concat();
    for blocks in [plain(&honest), deflated(&honest), [plain(&honest[..20]), deflated(&honest[20..])].concat()] {
        assert_eq!(check(&ack(&blocks)), Ok(()));
        assert!(ChitchatMessage::deserialize(&mut ack(&blocks).as_slice()).is_ok(), "chitchat reads the messages");
    }
    assert_eq!(check(&syn([("b".to_owned(), 3)].into_iter())), Ok(()));
    assert_eq!(check(&[0x53, 0xb0, 0, 3]), Ok(()));
}

/// Each of these ends chitchat's task, or makes this replica's next value end it.
#[test]
fn messages_that_chitchat_does_not_survive_are_refused() {
    let impossible = [
        delta(&[node_of("b", 1), value("f0", "", 1_000), version(500)]),
        delta(&[node_of("b", 1), version(500), value("f0", "", 1_000)]),
        delta(&[node_of("b", 1), value("f0", "", u64::MAX)]),
        delta(&[node_of("b", 1), version(u64::MAX)]),
        delta(&[node_of("me", 5), value("f0", "", 1_000)]),
        delta(&[node_of("b", u64::MAX), value("f0", "", 1)]),
        delta(&[node_of(&"n".repeat(300), 1), value("f0", "", 1)]),
        syn([("b".to_owned(), u64::MAX)].into_iter()),
    ];
    for message in impossible {
        assert_eq!(check(&message), Err(ScreenError::Impossible));
    }
    assert_eq!(check(&delta(&[node_of("me", 4), value("f0", "", 1)])), Ok(()), "an older start may be named");
    assert_eq!(check(&delta(&[value("f0", "", 1)])), Err(ScreenError::Malformed));
    assert_eq!(check(&delta(&[node_of("b", 1), value(&"k".repeat(65), "", 1)])), Err(ScreenError::Malformed));
}

/// A digest of too many nodes leaves chitchat no room for an answer, which it asserts.
#[test]
fn nodes_are_counted_over_all_messages_and_forgotten_when_no_longer_named() {
    let mut screen = Screen::new("me", Incarnation(5));
    let some = |from: u64| syn((from..from + 100).map(|n| (format!("{n:0>100}"), 1)).collect::<Vec<_>>().into_iter());
    let later = NOW + NODE_COUNTS + Duration::from_secs(1);
    assert_eq!(screen.check(&some(0), NOW), Ok(()));
    assert_eq!(screen.check(&some(100), NOW), Ok(()));
    assert_eq!(screen.check(&some(200), NOW), Err(ScreenError::TooManyNodes));
    assert_eq!(screen.check(&some(0), later), Ok(()), "known nodes stay");
    assert_eq!(screen.check(&some(300), later), Ok(()));
    assert!(screen.bytes <= DIGEST_BYTES_MAX);
}

proptest! {
    #[test]
    fn no_input_panics_and_chitchat_reads_what_passes(
        kind in 0u8..4,
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let message = [vec![0x53, 0xb0, 0, kind], bytes].concat();
        if check(&message).is_ok() {
            let _ = ChitchatMessage::deserialize(&mut message.as_slice());
        }
    }

    #[test]
    fn a_cut_or_changed_message_is_harmless(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut message = delta(&[node_of("b", 1), value("card", "{}", 1), value("f0", "word", 7), version(9)]);
        let at = at.index(message.len());
        let _ = check(&message[..at]);
        message[at] = byte;
        let _ = check(&message);
    }
}
