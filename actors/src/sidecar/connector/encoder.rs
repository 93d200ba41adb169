//! `ec-example` and `ec-nixl`: every media item of a chat is sent to an encode engine before the prompt is computed.
//!
//! With `ec-nixl` the encoders' answers say where the embeddings are; with `ec-example` a storage is shared.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::sidecar::api::Api;
use crate::sidecar::fields::Fields;

/// The most media items of one request that are encoded elsewhere.
pub(crate) const ITEMS_MAX: usize = 64;
/// The field with what encoders answered.
pub(crate) const EC_PARAMS: &str = "ec_transfer_params";
/// The parts of a message that an encoder reads.
const MEDIA: [&str; 4] = ["image_url", "audio_url", "video_url", "input_audio"];

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

/// The media items of a chat, each as it was sent. Of several with one URL the first. At most [`ITEMS_MAX`] and one, which
/// shows that there are too many: each URL is compared with all before it.
pub(crate) fn items<'f>(fields: &'f Fields<'_>) -> Vec<&'f str> {
    let messages: Vec<Message<'f>> =
        fields.raw("messages").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut found: Vec<&'f str> = Vec::new();
    let mut urls: Vec<String> = Vec::new();
    for content in messages.iter().filter_map(|message| message.content) {
        let parts: Vec<&'f RawValue> = serde_json::from_str(content.get()).unwrap_or_default();
        for part in parts.into_iter().map(RawValue::get) {
            let Ok(fields) = Fields::read(part.as_bytes()) else { continue };
            let Some(kind) = fields.read_as::<String>("type").filter(|kind| MEDIA.contains(&kind.as_str())) else {
                continue;
            };
            let media = Fields::read(fields.raw(&kind).unwrap_or("{}").as_bytes());
            let url = media.ok().and_then(|media| media.raw("url").map(str::to_owned));
            if url.as_ref().is_none_or(|url| !urls.contains(url)) {
                urls.extend(url);
                found.push(part);
            }
            if found.len() > ITEMS_MAX {
                return found;
            }
        }
    }
    found
}

/// The encode leg of one item.
pub(crate) fn encode_body(fields: &Fields<'_>, item: &str) -> String {
    let mut fields = fields.clone();
    Api::ChatCompletions.cap_to_one_token(&mut fields);
    fields.set("messages", format!(r#"[{{"role":"user","content":[{item}]}}]"#));
    fields.text()
}

/// All encoders' parameters as one object; `None` if no answer has any.
pub(crate) fn merged<'a>(answers: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let mut members = Vec::new();
    for answer in answers {
        let Ok(answer) = Fields::read(answer) else { continue };
        let Ok(params) = Fields::read(answer.raw(EC_PARAMS).unwrap_or("null").as_bytes()) else { continue };
        let text = params.text();
        let inside = text[1..text.len() - 1].to_owned();
        members.extend((!inside.is_empty()).then_some(inside));
    }
    (!members.is_empty()).then(|| format!("{{{}}}", members.join(",")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CHAT: &str = r#"{"model":"m","messages":[{"role":"system","content":"text"},{"role":"user","content":[{"type":"text","text":"?"},{"type":"image_url","image_url":{"url":"http://a"}},{"type":"image_url","image_url":{"url":"http://a"}},{"type":"input_audio","input_audio":{"data":"x"}},{"type":"input_audio","input_audio":{"data":"x"}}]}],"stream":true}"#;

    #[test]
    fn every_item_is_found_once_and_sent_alone() {
        let fields = Fields::read(CHAT.as_bytes()).unwrap();
        let items = items(&fields);
        let audio = r#"{"type":"input_audio","input_audio":{"data":"x"}}"#;
        assert_eq!(items, [r#"{"type":"image_url","image_url":{"url":"http://a"}}"#, audio, audio]);
        assert_eq!(
            encode_body(&fields, items[0]),
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://a"}}]}],"stream":false,"max_tokens":1,"max_completion_tokens":1}"#
        );
    }

    #[test]
    fn a_request_without_media_has_no_items() {
        for body in ["{}", r#"{"messages":7}"#, r#"{"messages":[{"content":"x"},{}]}"#, r#"{"prompt":"x"}"#] {
            assert!(items(&Fields::read(body.as_bytes()).unwrap()).is_empty(), "{body}");
        }
    }

    #[test]
    fn a_list_without_end_is_not_read_to_its_end() {
        let part = |nth: usize| format!(r#"{{"type":"image_url","image_url":{{"url":"http://{nth}"}}}}"#);
        let parts: Vec<String> = (0..ITEMS_MAX * 10).map(part).collect();
        let body = format!(r#"{{"messages":[{{"content":[{}]}},{{"content":[{}]}}]}}"#, parts.join(","), part(9_999));
        assert_eq!(items(&Fields::read(body.as_bytes()).unwrap()).len(), ITEMS_MAX + 1);
    }

    #[test]
    fn the_encoders_parameters_become_one_object() {
        let answers: [&[u8]; 5] = [
            br#"{"ec_transfer_params":{"h1":{"a":1}}}"#,
            br#"{"ec_transfer_params":null}"#,
            b"{}",
            br#"{"ec_transfer_params":{}}"#,
            br#"{"ec_transfer_params":{"h2":2,"h3":3}}"#,
        ];
        assert_eq!(merged(answers.into_iter()).as_deref(), Some(r#"{"h1":{"a":1},"h2":2,"h3":3}"#));
        assert_eq!(merged(answers[1..4].iter().copied()), None);
    }
}
