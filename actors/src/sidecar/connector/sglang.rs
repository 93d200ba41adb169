//! `sglang`: both legs run at once with the same body, which names where they meet.

use crate::sidecar::fields::{Fields, quoted};

/// The body of both legs: `room` is the number under which they meet at the prefill engine's bootstrap server.
pub(crate) fn body(fields: &Fields<'_>, host: &str, port: u16, room: u64) -> String {
    let mut fields = fields.clone();
    fields.set("bootstrap_host", quoted(host));
    fields.set("bootstrap_port", port.to_string());
    fields.set("bootstrap_room", room.to_string());
    fields.text()
}

/// A number for a room from random bits: positive, as SGLang's integers have a sign.
pub(crate) fn room(bits: u128) -> u64 {
    ((bits as u64) & (i64::MAX as u64)).max(1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn both_legs_name_the_same_room_and_keep_the_answers_length() {
        let fields = Fields::read(br#"{"messages":[],"max_tokens":9,"stream":true}"#).unwrap();
        assert_eq!(
            body(&fields, "10.0.0.7", 8998, 5),
            r#"{"messages":[],"max_tokens":9,"stream":true,"bootstrap_host":"10.0.0.7","bootstrap_port":8998,"bootstrap_room":5}"#
        );
    }

    #[test]
    fn a_room_is_a_positive_number_with_a_sign() {
        for bits in [0, 1, u128::MAX, 1 << 63, 1 << 64] {
            assert!((1..=i64::MAX as u64).contains(&room(bits)), "{bits}");
        }
    }
}
