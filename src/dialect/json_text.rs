//! Decodes the escapes inside a JSON string.
//!
//! Must not know where the string is.

use std::borrow::Cow;

use memchr::memchr;

/// Passes `raw`, the inside of a string, to `see` in pieces, with its escapes decoded. A lone surrogate becomes the
/// three bytes that UTF-8 would use. So two strings give the same bytes exactly when they are the same text.
pub fn decode(mut raw: &[u8], mut see: impl FnMut(&[u8])) {
    while let Some(at) = memchr(b'\\', raw) {
        if at > 0 {
            see(&raw[..at]);
        }
        let (code, used) = escape(&raw[at + 1..]);
        let mut buffer = [0; 4];
        match char::from_u32(code) {
            Some(character) => see(character.encode_utf8(&mut buffer).as_bytes()),
            None => see(&[0xe0 | (code >> 12) as u8, 0x80 | (code >> 6 & 0x3f) as u8, 0x80 | (code & 0x3f) as u8]),
        }
        raw = raw.get(at + 1 + used..).unwrap_or_default();
    }
    if !raw.is_empty() {
        see(raw);
    }
}

/// A key with its escapes decoded, for comparison.
pub fn plain(raw: &[u8]) -> Cow<'_, [u8]> {
    match memchr(b'\\', raw) {
        None => Cow::Borrowed(raw),
        Some(_) => Cow::Owned(decoded(raw).into_owned().into_bytes()),
    }
}

/// `raw` with its escapes decoded; borrowed where there are none. Lone surrogates become `U+FFFD`.
pub fn decoded(raw: &[u8]) -> Cow<'_, str> {
    if memchr(b'\\', raw).is_none() {
        return String::from_utf8_lossy(raw);
    }
    let mut text = Vec::with_capacity(raw.len());
    decode(raw, |piece| text.extend_from_slice(piece));
    Cow::Owned(String::from_utf8_lossy(&text).into_owned())
}

/// The code point of the escape behind a backslash, and the length of the escape.
fn escape(raw: &[u8]) -> (u32, usize) {
    let unit = |at: usize| {
        let digits = raw.get(at..at + 4)?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    match raw.first() {
        Some(b'b') => (8, 1),
        Some(b'f') => (12, 1),
        Some(b'n') => (10, 1),
        Some(b'r') => (13, 1),
        Some(b't') => (9, 1),
        Some(b'u') => match (unit(1).unwrap_or(0xfffd), raw.get(5..7)) {
            (high @ 0xd800..0xdc00, Some(br"\u")) => match unit(7) {
                Some(low @ 0xdc00..0xe000) => (0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00), 11),
                _ => (high, 5),
            },
            (code, _) => (code, 5),
        },
        Some(&byte) => (u32::from(byte), 1),
        None => (0xfffd, 0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_decoded_as_json_means_them() {
        assert_eq!(decoded(br#"a\u00e9\n\"\\\/\ud83d\ude00z"#), "aé\n\"\\/😀z");
        assert!(matches!(decoded("é".as_bytes()), Cow::Borrowed("é")));
        let mut lone = Vec::new();
        decode(br"\ud800x", |piece| lone.extend_from_slice(piece));
        assert_eq!(lone, [0xed, 0xa0, 0x80, b'x']);
        assert_eq!(decoded(br"\ud800\u0041"), "\u{fffd}\u{fffd}\u{fffd}A");
        assert_eq!(&*plain(br"\u0061b"), b"ab");
    }

    proptest! {
        #[test]
        fn what_serde_json_writes_is_read(text in any::<String>()) {
            let quoted = serde_json::Value::from(text.as_str()).to_string();
            prop_assert_eq!(decoded(&quoted.as_bytes()[1..quoted.len() - 1]), text);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            decode(&bytes, |_| {});
        }
    }
}
