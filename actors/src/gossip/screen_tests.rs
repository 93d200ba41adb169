//! What the screen lets through, and what it does not.
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

fn says(operations: &[Vec<u8>]) -> Vec<u8> {
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

fn check(message: &[u8]) -> Result<(), Unfit> {
    Screen::new("me", Incarnation(5)).check(message, NOW)
}

/// The find: one datagram of 59 KB that becomes hundreds of megabytes.
#[test]
fn a_bomb_is_refused_before_it_is_inflated() {
    let zeros = deflated(&vec![0; BLOCK_MAX]);
    let bomb = ack(&zeros.repeat(59_000 / zeros.len()));
    assert!(bomb.len() > 58_000 && 59_000 / zeros.len() * BLOCK_MAX > 100 << 20);
    assert_eq!(check(&bomb), Err(Unfit::TooLarge));
    let oversized = deflated(&vec![0; 2 * BLOCK_MAX]);
    assert_eq!(check(&ack(&oversized)), Err(Unfit::Malformed), "one block beyond chitchat's own buffer");
}

#[test]
fn what_peers_say_passes_deflated_or_not() {
    let honest =
        [node_of("b", 1), value("card", "{}", 1), value("f0", "word", 7), node_of("c", 2), version(9)].concat();
    for blocks in [plain(&honest), deflated(&honest), [plain(&honest[..20]), deflated(&honest[20..])].concat()] {
        assert_eq!(check(&ack(&blocks)), Ok(()));
        assert!(ChitchatMessage::deserialize(&mut ack(&blocks).as_slice()).is_ok(), "the test speaks its language");
    }
    assert_eq!(check(&syn([("b".to_owned(), 3)].into_iter())), Ok(()));
    assert_eq!(check(&[0x53, 0xb0, 0, 3]), Ok(()));
}

/// Each of these ends chitchat's task, or makes the next word of ours end it.
#[test]
fn what_chitchat_does_not_survive_is_not_shown_to_it() {
    let impossible = [
        says(&[node_of("b", 1), value("f0", "", 1_000), version(500)]),
        says(&[node_of("b", 1), version(500), value("f0", "", 1_000)]),
        says(&[node_of("b", 1), value("f0", "", u64::MAX)]),
        says(&[node_of("b", 1), version(u64::MAX)]),
        says(&[node_of("me", 5), value("f0", "", 1_000)]),
        says(&[node_of("b", u64::MAX), value("f0", "", 1)]),
        says(&[node_of(&"n".repeat(300), 1), value("f0", "", 1)]),
        syn([("b".to_owned(), u64::MAX)].into_iter()),
    ];
    for message in impossible {
        assert_eq!(check(&message), Err(Unfit::Impossible));
    }
    assert_eq!(check(&says(&[node_of("me", 4), value("f0", "", 1)])), Ok(()), "an older self may be told of");
    assert_eq!(check(&says(&[value("f0", "", 1)])), Err(Unfit::Malformed));
    assert_eq!(check(&says(&[node_of("b", 1), value(&"k".repeat(65), "", 1)])), Err(Unfit::Malformed));
}

/// A digest of too many leaves chitchat no room for an answer, which it asserts.
#[test]
fn nodes_are_counted_over_all_messages_and_those_that_nobody_names_are_forgotten() {
    let mut screen = Screen::new("me", Incarnation(5));
    let some = |from: u64| syn((from..from + 100).map(|n| (format!("{n:0>100}"), 1)).collect::<Vec<_>>().into_iter());
    let later = NOW + NODE_COUNTS + Duration::from_secs(1);
    assert_eq!(screen.check(&some(0), NOW), Ok(()));
    assert_eq!(screen.check(&some(100), NOW), Ok(()));
    assert_eq!(screen.check(&some(200), NOW), Err(Unfit::TooManyNodes));
    assert_eq!(screen.check(&some(0), later), Ok(()), "who is known stays");
    assert_eq!(screen.check(&some(300), later), Ok(()));
    assert!(screen.bytes <= DIGEST_BYTES_MAX);
}

proptest! {
    #[test]
    fn whatever_comes_it_never_panics_and_chitchat_reads_what_passes(
        kind in 0u8..4,
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let message = [vec![0x53, 0xb0, 0, kind], bytes].concat();
        if check(&message).is_ok() {
            let _ = ChitchatMessage::deserialize(&mut message.as_slice());
        }
    }

    #[test]
    fn any_cut_or_changed_byte_of_an_honest_message_is_harmless(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut message = says(&[node_of("b", 1), value("card", "{}", 1), value("f0", "word", 7), version(9)]);
        let at = at.index(message.len());
        let _ = check(&message[..at]);
        message[at] = byte;
        let _ = check(&message);
    }
}
