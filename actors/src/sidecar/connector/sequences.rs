//! Whether a request makes more than one sequence of tokens.
//!
//! One hand-off carries the blocks of one prompt, and the prefill engine frees them when one sequence has read them. A
//! request for several prompts would be given the blocks of the first: wrong text. What can't be read counts as several:
//! engines read some values more leniently, such as numbers in quotes.

use serde::de::IgnoredAny;

use crate::sidecar::fields::Fields;

/// Whether it has several prompts, or asks for several answers to one.
pub(crate) fn has_several(fields: &Fields<'_>) -> bool {
    let of_sampling = match fields.raw("sampling_params") {
        None | Some("null") => false,
        Some(text) => Fields::read(text.as_bytes()).map_or(true, |sampling| asks_for_several(&sampling)),
    };
    of_sampling
        || asks_for_several(fields)
        || fields.has("prompt") && fields.has("prompt_embeds")
        || ["prompt", "prompt_embeds", "token_ids"].iter().any(|name| is_list_of_prompts(fields, name))
}

/// Whether parameters ask for several answers to one prompt.
fn asks_for_several(fields: &Fields<'_>) -> bool {
    let is_one = |name: &str| fields.read_as::<f64>(name).is_some_and(|count| (count - 1.0).abs() < f64::EPSILON);
    let searches = fields.has("use_beam_search") && fields.raw("use_beam_search") != Some("false");
    searches || ["n", "best_of"].iter().any(|name| fields.has(name) && !is_one(name))
}

/// Whether a field holds several prompts: texts or lists, where one prompt is a text or a list of numbers.
fn is_list_of_prompts(fields: &Fields<'_>, name: &str) -> bool {
    let Some(text) = fields.raw(name).filter(|text| text.starts_with('[')) else { return false };
    let inside = text[1..].trim_start();
    let is_prompt = inside.starts_with(['"', '[', '{']);
    is_prompt && serde_json::from_str::<Vec<IgnoredAny>>(text).is_ok_and(|prompts| prompts.len() > 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn several_prompts_or_answers_are_noticed() {
        for (body, several) in [
            (r#"{"prompt":"a"}"#, false),
            (r#"{"prompt":["a"]}"#, false),
            (r#"{"prompt":[1,2,3]}"#, false),
            (r#"{"prompt":[[1,2]],"n":1,"best_of":null}"#, false),
            (r#"{"prompt":["a","b"]}"#, true),
            (r#"{"prompt":[ [1],[2] ]}"#, true),
            (r#"{"messages":[],"n":2}"#, true),
            (r#"{"messages":[],"use_beam_search":true}"#, true),
            (r#"{"prompt":"a","best_of":3}"#, true),
            (r#"{"token_ids":[1,2],"sampling_params":{"n":1}}"#, false),
            (r#"{"token_ids":[1,2],"sampling_params":{"n":2}}"#, true),
            (r#"{"messages":[],"n":null,"use_beam_search":null}"#, false),
            (r#"{"messages":[],"n":1.0,"use_beam_search":false}"#, false),
            (r#"{"messages":[],"n":"2"}"#, true),
            (r#"{"messages":[],"n":"1"}"#, true),
            (r#"{"messages":[],"n":[2]}"#, true),
            (r#"{"messages":[],"n":1e999}"#, true),
            (r#"{"messages":[],"n":0}"#, true),
            (r#"{"messages":[],"use_beam_search":"true"}"#, true),
            (r#"{"messages":[],"use_beam_search":1}"#, true),
            (r#"{"token_ids":[1,2],"sampling_params":{"n":"2"}}"#, true),
            (r#"{"token_ids":[1,2],"sampling_params":{"use_beam_search":1}}"#, true),
            (r#"{"token_ids":[1,2],"sampling_params":null}"#, false),
            (r#"{"token_ids":[1,2],"sampling_params":[{}]}"#, true),
            (r#"{"prompt":"a","prompt_embeds":"b"}"#, true),
            (r#"{"prompt":null,"prompt_embeds":"b"}"#, false),
        ] {
            assert_eq!(has_several(&Fields::read(body.as_bytes()).unwrap()), several, "{body}");
        }
    }
}
