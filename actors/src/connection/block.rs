//! One header block (RFC 7541). Its `:authority` is repaired where HTTP libraries would refuse the whole request.
//!
//! Must not know frames or connections.
//!
//! Istio sets no authority for its ext-proc clusters, so Envoy sends the cluster's name,
//! `outbound|9002||picker.ns.svc`. The character `|` is not allowed there. No code here routes by that name, so each
//! byte that is no letter, digit or dot becomes `-`. The decoded length stays the same, and so does the entry's size in
//! the dynamic table that later blocks refer to. So that table need not be tracked. No byte that is replaced has a
//! shorter Huffman code than `-`, so a block never grows.

use std::ops::Range;

use http::uri::Authority;

use super::huffman;

/// How many fields are searched. Pseudo-headers come first, and there are six of them at most.
const FIELDS_MAX: usize = 16;
/// The longest coded authority that is read, in bytes. A DNS name has at most 253 bytes.
const CODED_MAX: usize = 1_024;
/// The index of `:authority` in the static table.
const AUTHORITY: usize = 1;

/// A string literal of a block.
struct Text {
    /// The literal, including its length prefix.
    all: Range<usize>,
    /// The coded bytes alone.
    coded: Range<usize>,
    huffman: bool,
}

/// Repairs the authority of the block, or of its first part. Returns the new length if something was repaired; the
/// bytes of the slice behind it are stale.
pub(super) fn repair(block: &mut [u8]) -> Option<usize> {
    let text = authority(block)?;
    let mut name = text.read(block, CODED_MAX)?;
    // The library would refuse the name with this same parser.
    if name.is_empty() || Authority::try_from(&name[..]).is_ok() {
        return None;
    }
    for byte in name.iter_mut().filter(|byte| !byte.is_ascii_alphanumeric() && **byte != b'.') {
        *byte = b'-';
    }
    let name = if text.huffman { huffman::encode(&name) } else { name };
    let mut repaired = length_of(name.len(), text.huffman);
    repaired.extend_from_slice(&name);
    let end = text.all.start + repaired.len();
    if end > text.all.end {
        return None;
    }
    block[text.all.start..end].copy_from_slice(&repaired);
    block.copy_within(text.all.end.., end);
    Some(block.len() - (text.all.end - end))
}

/// The value of `:authority` if it is a literal. Its name may be a literal or an index into the static table.
fn authority(block: &[u8]) -> Option<Text> {
    let mut at = 0;
    for _ in 0..FIELDS_MAX {
        let prefix = match *block.get(at)? {
            // An indexed field, or a size update of the dynamic table.
            0x80.. => {
                at = integer(block, at, 7)?.1;
                continue;
            }
            0x20..0x40 => {
                at = integer(block, at, 5)?.1;
                continue;
            }
            0x40..0x80 => 6,
            0x00..0x20 => 4,
        };
        let (name, next) = integer(block, at, prefix)?;
        let (found, next) = match name {
            0 => {
                let name = Text::at(block, next)?;
                let found = name.read(block, 16).is_some_and(|name| name == b":authority");
                (found, name.all.end)
            }
            name => (name == AUTHORITY, next),
        };
        let value = Text::at(block, next)?;
        if found {
            return Some(value);
        }
        at = value.all.end;
    }
    None
}

/// The integer at `at` with a prefix of `bits` bits, and the position after it.
fn integer(block: &[u8], at: usize, bits: u32) -> Option<(usize, usize)> {
    let full = (1_usize << bits) - 1;
    let mut value = usize::from(*block.get(at)?) & full;
    if value < full {
        return Some((value, at + 1));
    }
    for nth in 0..4 {
        let byte = usize::from(*block.get(at + 1 + nth)?);
        value += (byte & 0x7f) << (7 * nth);
        if byte < 0x80 {
            return Some((value, at + 2 + nth));
        }
    }
    None
}

/// The length prefix of a string.
fn length_of(length: usize, huffman: bool) -> Vec<u8> {
    let mark = if huffman { 0x80 } else { 0 };
    if length < 0x7f {
        return vec![mark | length as u8];
    }
    let (mut bytes, mut rest) = (vec![mark | 0x7f], length - 0x7f);
    while rest >= 0x80 {
        bytes.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

// === impl Text ===

impl Text {
    /// The string at `at`; `None` if it is incomplete.
    fn at(block: &[u8], at: usize) -> Option<Self> {
        let huffman = block.get(at)? & 0x80 != 0;
        let (length, from) = integer(block, at, 7)?;
        let end = from.checked_add(length).filter(|end| *end <= block.len())?;
        Some(Self { all: at..end, coded: from..end, huffman })
    }

    /// The decoded string; `None` if its coded form is longer than `most` bytes or invalid.
    fn read(&self, block: &[u8], most: usize) -> Option<Vec<u8>> {
        let coded = &block[self.coded.clone()];
        match (coded.len() > most, self.huffman) {
            (true, _) => None,
            (false, true) => huffman::decode(coded),
            (false, false) => Some(coded.to_vec()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ISTIO: &[u8] = b"outbound|9002||picker.ns.svc.cluster.local";
    const REPAIRED: &[u8] = b"outbound-9002--picker.ns.svc.cluster.local";

    /// `:method: POST`, then `:authority` with this name in front of its value, then `:path: /`.
    fn block(name: &[u8], value: &[u8], huffman: bool) -> Vec<u8> {
        let value = if huffman { huffman::encode(value) } else { value.to_vec() };
        [&[0x83][..], name, &length_of(value.len(), huffman), &value, &[0x84]].concat()
    }

    fn repaired(mut block: Vec<u8>) -> Vec<u8> {
        let length = repair(&mut block).unwrap();
        block.truncate(length);
        block
    }

    #[test]
    fn istios_name_is_repaired_in_every_encoding() {
        let coded = huffman::encode(b":authority");
        let named = [&[0x40, 0x80 | coded.len() as u8][..], &coded].concat();
        let names: [&[u8]; 5] = [&[0x41], &[0x01], &[0x11], b"\x40\x0a:authority", &named];
        for name in names {
            for huffman in [false, true] {
                assert_eq!(repaired(block(name, ISTIO, huffman)), block(name, REPAIRED, huffman), "{name:?} {huffman}");
            }
        }
    }

    #[test]
    fn a_length_that_becomes_one_byte_shorter_stays_right() {
        // From 127 coded bytes on, the length prefix has two bytes. Replacing `|` by `-` saves five bits, which can
        // make it one.
        for filler in 120..210 {
            let name = [&b"|"[..], &vec![b'a'; filler]].concat();
            let good = [&b"-"[..], &vec![b'a'; filler]].concat();
            for huffman in [false, true] {
                assert_eq!(repaired(block(&[0x41], &name, huffman)), block(&[0x41], &good, huffman), "{filler}");
            }
        }
    }

    #[test]
    fn an_authority_that_libraries_accept_is_unchanged() {
        for good in ["127.0.0.1:9002", "[::1]:9002", "picker.ns.svc.cluster.local:9002", "user@host", "picker_1", "a~b"]
        {
            let whole = block(&[0x41], good.as_bytes(), true);
            let mut checked = whole.clone();
            assert_eq!((repair(&mut checked), checked), (None, whole), "{good}");
        }
    }

    #[test]
    fn truncated_and_endless_blocks_are_left_to_the_library() {
        let whole = block(&[0x41], ISTIO, true);
        for end in 0..whole.len() - 1 {
            assert_eq!(repair(&mut whole[..end].to_vec()), None, "{end}");
        }
        let many = [vec![0x82; FIELDS_MAX], whole].concat();
        assert_eq!(repair(&mut many.clone()), None, "after the fields that are searched");
        let endless = [0x41, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(repair(&mut endless.to_vec()), None);
        assert_eq!(repair(&mut block(&[0x41], &[b'|'; CODED_MAX + 1], false)), None);
        assert_eq!(repair(&mut block(&[0x41], b"", false)), None);
    }
}
