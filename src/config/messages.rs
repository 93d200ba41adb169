//! Rewrites serde's error messages about wrong values in the style of the other configuration errors.
//!
//! Must not know which field it is about. Messages of another form are not changed.

use super::suggestion;

/// The rewritten message; `got` describes the value in the file.
pub(super) fn of_misfit(sentence: &str, got: &str) -> String {
    if let Some(expected) = ["invalid type: ", "invalid value: "].iter().find_map(|head| sentence.strip_prefix(head)) {
        let expected = expected.rsplit_once(", expected ").map_or(expected, |(_, expected)| expected);
        return format!("expected {}, got {got}", wanted(expected));
    }
    if let Some((variant, known)) = sentence.strip_prefix("unknown variant `").and_then(|rest| rest.split_once('`')) {
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        let similar = suggestion::did_you_mean(variant, known.iter().copied());
        return similar.map_or_else(
            || format!("expected {}, got {got}", suggestion::either(&known)),
            |similar| format!("`{variant}` is not among {}; {similar}", suggestion::listed(&known)),
        );
    }
    match sentence.strip_prefix("missing field ") {
        Some(field) => format!("{field} is missing"),
        None => sentence.to_owned(),
    }
}

/// Describes a Rust type for people.
fn wanted(expected: &str) -> String {
    let range = |least: i64, most: u64| format!("a whole number from {least} to {most}");
    match expected {
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "u8" => range(0, u8::MAX.into()),
        "u16" => range(0, u16::MAX.into()),
        "u32" => range(0, u32::MAX.into()),
        "u64" | "usize" => "a whole number that is not negative".to_owned(),
        "f32" | "f64" => "a number (without quotes)".to_owned(),
        "a boolean" => "`true` or `false` (without quotes)".to_owned(),
        "a string" => "text (put it in quotes)".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping".to_owned(),
        structure if structure.starts_with("struct ") => "a mapping of parameters".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rust_type_is_described_in_plain_words() {
        let got = "the text \"three\"";
        for (expected, message) in [
            ("i64", "a whole number"),
            ("u16", "a whole number from 0 to 65535"),
            ("f64", "a number (without quotes)"),
            ("a boolean", "`true` or `false` (without quotes)"),
            ("struct Parameters", "a mapping of parameters"),
        ] {
            let sentence = format!("invalid type: string \"three, expected\", expected {expected}");
            assert_eq!(of_misfit(&sentence, got), format!("expected {message}, got {got}"));
        }
    }

    #[test]
    fn an_unknown_variant_lists_the_known_ones() {
        let sentence = |word: &str| format!("unknown variant `{word}`, expected one of `In`, `NotIn`, `Exists`");
        assert_eq!(
            of_misfit(&sentence("in"), "the text \"in\""),
            "`in` is not among `In`, `NotIn` and `Exists`; did you mean `In`?"
        );
        assert_eq!(
            of_misfit(&sentence("zebra"), "the text \"zebra\""),
            "expected `In`, `NotIn` or `Exists`, got the text \"zebra\""
        );
    }

    #[test]
    fn other_messages_are_not_changed() {
        assert_eq!(of_misfit("missing field `key`", "a mapping"), "`key` is missing");
        assert_eq!(of_misfit("queueDepthThreshold must be above 0", "5"), "queueDepthThreshold must be above 0");
    }
}
