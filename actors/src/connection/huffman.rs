//! The Huffman code of HPACK (RFC 7541, Appendix B).
//!
//! Must not know header fields. The code is canonical: symbols in the order of length and then value get ascending
//! codes. So the lengths alone are stored here.

/// The length of each byte's code, in bits.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12,
    10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6,
    5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22,
    22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20,
    22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28,
    27, 27, 27, 27, 27, 26,
];
/// The longest code, in bits. One code of this length belongs to no byte: it marks the end of a string and is never
/// written.
const LONGEST: usize = 30;

const CODE: Code = Code::from_lengths();

/// The code as tables for decoding and encoding.
struct Code {
    /// The code of each byte, in its lowest bits.
    codes: [u32; 256],
    /// Bytes in the order of their codes.
    bytes: [u8; 256],
    /// For each length: its first code, how many there are, and where they begin in `bytes`.
    lengths: [(u32, u32, u32); LONGEST + 1],
}

// === impl Code ===

impl Code {
    const fn from_lengths() -> Self {
        let mut made = Self { codes: [0; 256], bytes: [0; 256], lengths: [(0, 0, 0); LONGEST + 1] };
        let (mut code, mut placed, mut length) = (0, 0, 1);
        while length <= LONGEST {
            code <<= 1;
            let (first, from) = (code, placed);
            let mut byte = 0;
            while byte < 256 {
                if LENGTHS[byte] as usize == length {
                    made.codes[byte] = code;
                    made.bytes[placed as usize] = byte as u8;
                    (code, placed) = (code + 1, placed + 1);
                }
                byte += 1;
            }
            made.lengths[length] = (first, placed - from, from);
            length += 1;
        }
        made
    }
}

/// Decodes `coded`; `None` if a code or the padding is invalid.
pub(super) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(coded.len() * 2);
    let (mut code, mut length) = (0_u32, 0_usize);
    for bit in coded.iter().flat_map(|byte| (0..8).rev().map(move |at| u32::from(byte >> at & 1))) {
        (code, length) = (code << 1 | bit, length + 1);
        let (first, count, from) = *CODE.lengths.get(length)?;
        let nth = code.wrapping_sub(first);
        if nth < count {
            text.push(CODE.bytes[(from + nth) as usize]);
            (code, length) = (0, 0);
        }
    }
    // What is left is padding: fewer than eight bits, all of them set.
    (length < 8 && code + 1 == 1 << length).then_some(text)
}

/// Encodes `text`.
pub(super) fn encode(text: &[u8]) -> Vec<u8> {
    let mut coded = Vec::with_capacity(text.len());
    let (mut bits, mut waiting) = (0_u64, 0_u8);
    for &byte in text {
        let length = LENGTHS[usize::from(byte)];
        (bits, waiting) = (bits << length | u64::from(CODE.codes[usize::from(byte)]), waiting + length);
        while waiting >= 8 {
            waiting -= 8;
            coded.push((bits >> waiting) as u8);
        }
    }
    if waiting > 0 {
        coded.push((bits << (8 - waiting)) as u8 | 0xff >> waiting);
    }
    coded
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_the_rfc_encode_as_it_shows() {
        let domain = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(encode(b"www.example.com"), domain);
        assert_eq!(decode(&domain).unwrap(), b"www.example.com");
        assert_eq!(encode(b"no-cache"), [0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]);
    }

    #[test]
    fn the_code_is_complete_but_for_the_end_of_a_string() {
        let sum: f64 = LENGTHS.iter().map(|&length| 0.5_f64.powi(length.into())).sum();
        assert_eq!(sum + 0.5_f64.powi(30), 1.0);
    }

    #[test]
    fn invalid_padding_is_refused() {
        assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff]), None, "the end of a string");
        assert_eq!(decode(&[0xff]), None, "eight bits of padding");
        assert_eq!(decode(&[0b0000_0000]), None, "bits that are not set");
        assert_eq!(decode(&[0b0000_0111]).unwrap(), b"0");
        assert_eq!(decode(&[]).unwrap(), b"");
    }

    proptest! {
        #[test]
        fn encoded_text_decodes_to_itself(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decode(&encode(&text)).unwrap(), text);
        }
    }
}
