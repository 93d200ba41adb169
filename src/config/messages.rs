//! serde's sentences about a value that does not fit, in the words of the rest of a configuration's errors.
//!
//! Must not know which field it is about. A sentence of another form stays as it is.

use super::suggestion;

/// The sentence for a person; `got` is what stands in the file.
pub(super) fn of_misfit(sentence: &str, got: &str) -> String {
    if let Some(expected) = ["invalid type: ", "invalid value: "].iter().find_map(|head| sentence.strip_prefix(head)) {
        let expected = expected.rsplit_once(", expected ").map_or(expected, |(_, expected)| expected);
        return format!("expected {}, got {got}", wanted(expected));
    }
    if let Some((variant, known)) = sentence.strip_prefix("unknown variant `").and_then(|rest| rest.split_once('`')) {
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        let near = suggestion::did_you_mean(variant, known.iter().copied());
        return near.map_or_else(
            || format!("expected {}, got {got}", suggestion::either(&known)),
            |near| format!("`{variant}` is not among {}; {near}", suggestion::listed(&known)),
        );
    }
    match sentence.strip_prefix("missing field ") {
        Some(field) => format!("{field} is missing"),
        None => sentence.to_owned(),
    }
}

/// What a type of Rust's is to a person.
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
    fn a_type_is_told_as_people_call_it() {
        let got = "the text \"three\"";
        for (expected, said) in [
            ("i64", "a whole number"),
            ("u16", "a whole number from 0 to 65535"),
            ("f64", "a number (without quotes)"),
            ("a boolean", "`true` or `false` (without quotes)"),
            ("struct Parameters", "a mapping of parameters"),
        ] {
            let sentence = format!("invalid type: string \"three, expected\", expected {expected}");
            assert_eq!(of_misfit(&sentence, got), format!("expected {said}, got {got}"));
        }
    }

    #[test]
    fn a_word_out_of_a_few_is_told_which_ones_there_are() {
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
    fn other_sentences_stay_as_they_are() {
        assert_eq!(of_misfit("missing field `key`", "a mapping"), "`key` is missing");
        assert_eq!(of_misfit("queueDepthThreshold must be above 0", "5"), "queueDepthThreshold must be above 0");
    }
}
