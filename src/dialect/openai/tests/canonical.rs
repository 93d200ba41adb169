//! Hashes follow what the chat template sees: two spellings of one content hash alike, and different contents differ.

use super::*;
use crate::dialect::cursor::{Cursor, Token};
use crate::dialect::json_text::decoded;

const LONG: &str = "The rest of the conversation is the same in both, and long enough for some blocks of its own.";

/// Asserts that these bodies of one API hash alike.
fn same(api: Api, bodies: &[String]) {
    let prompts: Vec<_> = bodies.iter().map(|body| prompt_of(api, body)).collect();
    for (body, (prompt, content)) in bodies.iter().zip(&prompts) {
        assert_eq!((&prompt.chain, content), (&prompts[0].0.chain, &prompts[0].1), "{}\n{body}", bodies[0]);
    }
}

fn user(content: &str) -> String {
    format!(r#"{{"model":"m","messages":[{{"role":"user","content":{content}}}]}}"#)
}

fn with(fields: &str) -> String {
    format!(r#"{{"model":"m",{fields}"messages":[{{"role":"user","content":"{LONG}"}}]}}"#)
}

#[test]
fn a_text_is_the_same_text_as_a_string_or_as_its_only_part() {
    let contents = [r#""caf\u00e9 \"x\"""#, "\"café \\\"x\\\"\"", r#"["café \u0022x\u0022"]"#];
    let parts = [
        r#"[{"type":"text","text":"café \"x\""}]"#,
        r#" [ { "text" : "café \"x\"" , "type" : "text" } ] "#,
        r#"[{"type":"input_text","text":"café \"x\"","annotations":[],"cache_control":{"type":"ephemeral"}}]"#,
    ];
    let bodies: Vec<String> = contents.iter().chain(&parts).map(|content| user(content)).collect();
    same(Api::Chat, &bodies);
}

#[test]
fn the_order_of_keys_and_what_is_blank_do_not_matter() {
    same(
        Api::Chat,
        &[
            with(""),
            with(r#""tools":[],"tool_choice":"none","#),
            with(r#""tools":null,"documents":[],"chat_template_kwargs":{ },"add_special_tokens":false,"#),
            with(
                r#""temperature":0.5,"user":"u","stream":true,"n":2,"seed":7,"request_id":"r","kv_transfer_params":{"a":1},"#,
            ),
            format!(
                r#"{{"messages":[{{"refusal":null,"tool_calls":[],"content":"{LONG}","role":"user"}}],"model":"m"}}"#
            ),
        ],
    );
    let tool = |text: &str| with(&format!(r#""tools":[{text}],"#));
    same(
        Api::Chat,
        &[
            tool(r#"{"type":"function","function":{"name":"f","parameters":{"a":1}}}"#),
            tool(
                r#" { "type":"function", "function" : {"name":"\u0066","parameters":{"a":1} } ,"cache_control":{"type":"x"}}"#,
            ),
            tool(r#"{"type":"function","function":{"name":"f","parameters":{"a":1}}}"#)
                .replace("\"messages\"", r#""tool_choice":"auto","messages""#),
        ],
    );
}

#[test]
fn whatever_the_template_sees_and_differs_shares_nothing_from_there_on() {
    let fields = [
        "",
        r#""documents":[{"title":"a"}],"#,
        r#""documents":[{"title":"b"}],"#,
        r#""tools":[{"type":"function","function":{"name":"f"}}],"#,
        r#""tools":[{"type":"function","function":{"name":"g"}}],"#,
        r#""tools":[{"type":"function","function":{"name":"g"}}],"tool_choice":"none","#,
        r#""chat_template_kwargs":{"enable_thinking":false},"#,
        r#""chat_template_kwargs":{"enable_thinking":true},"#,
        r#""chat_template":"x","#,
        r#""reasoning_effort":"low","#,
        r#""add_special_tokens":true,"#,
        r#""truncate_prompt_tokens":5,"#,
        r#""mm_processor_kwargs":{"a":1},"#,
        r#""cache_salt":"s","#,
    ];
    for (i, a) in fields.iter().enumerate() {
        for b in &fields[..i] {
            // At most the blocks of the field's own beginning.
            let (same, of) = shared(Api::Chat, &with(a), &with(b));
            assert!(same <= 7 && of >= same + 8, "{same}/{of}: {a} {b}");
        }
    }
}

#[test]
fn parts_of_any_kind_that_differ_share_nothing_from_there_on() {
    let contents = [
        r#"{"type":"video_embeds","video_embeds":"A"}"#,
        r#"{"type":"audio_embeds","audio_embeds":"A"}"#,
        r#"{"type":"image_embeds","image_embeds":"A"}"#,
        r#"{"type":"image_embeds","image_embeds":"A","uuid":"u"}"#,
        r#"{"type":"prompt_embeds","data":"A"}"#,
        r#"{"type":"prompt_embeds","data":"B"}"#,
        r#"{"type":"thinking","thinking":"A"}"#,
        r#"{"type":"thinking","thinking":"B"}"#,
        r#"{"type":"input_image","image_url":"A"}"#,
        r#"{"type":"input_image","image_url":"B"}"#,
        r#"{"type":"image","url":"A"}"#,
        r#"{"type":"image","url":"B"}"#,
        r#"{"image_url":"A"}"#,
        r#"{"image_url":"A","uuid":"u"}"#,
        r#"{"type":"image_url","image_url":{"url":"A"}}"#,
        r#"{"type":"image_url","image_url":{"url":"A"},"uuid":"u"}"#,
        r#"{"type":"image_url","image_url":null,"uuid":"u"}"#,
        r#"{"type":"refusal","refusal":"A"}"#,
        r#"{"type":"what comes next year","x":"A"}"#,
        r#"{"type":"what comes next year","x":"B"}"#,
        r#"{"type":"tool_result","content":[{"type":"text","text":"A"}]}"#,
        r#"{"type":"tool_result","content":[{"type":"image","source":{"data":"A"}}]}"#,
        r#"{"type":"text","text":"A"}"#,
        r#"{"type":"text","text":"A","uuid":"u"}"#,
    ];
    let body = |part: &str| user(&format!(r#"[{part},{{"type":"text","text":"{LONG}"}}]"#));
    for (i, a) in contents.iter().enumerate() {
        for b in &contents[..i] {
            // At most the blocks of role and type, of eight bytes each.
            let (same, of) = shared(Api::Other, &body(a), &body(b));
            assert!(same <= 6 && of >= same + 8, "{same}/{of}: {a} {b}");
        }
    }
}

#[test]
fn a_message_s_other_fields_count() {
    let message = |field: &str| {
        format!(r#"{{"messages":[{{"role":"assistant","content":"a"{field}}},{{"role":"user","content":"{LONG}"}}]}}"#)
    };
    let fields = ["", r#","name":"n""#, r#","reasoning":"r""#, r#","tool_calls":[{"id":"1"}]"#, r#","new":"x""#];
    for (i, a) in fields.iter().enumerate() {
        for b in &fields[..i] {
            assert!(shared(Api::Chat, &message(a), &message(b)).0 <= 2, "{a} {b}");
        }
    }
    same(Api::Chat, &[message(r#","reasoning":"r""#), message(r#","reasoning_content":"r""#)]);
}

#[test]
fn responses_messages_and_the_others_hash_their_prompts() {
    let text = LONG;
    let cases = [
        (Api::Responses, format!(r#"{{"input":"{text}"}}"#)),
        (Api::Responses, format!(r#"{{"input":[{{"type":"function_call_output","call_id":"c","output":"{text}"}}]}}"#)),
        (Api::Responses, format!(r#"{{"instructions":"{text}","input":"x"}}"#)),
        (Api::Other, format!(r#"{{"system":[{{"type":"text","text":"{text}"}}],"messages":[]}}"#)),
        (
            Api::Other,
            format!(r#"{{"messages":[{{"role":"user","content":[{{"type":"tool_result","content":"{text}"}}]}}]}}"#),
        ),
        (Api::Other, format!(r#"{{"tools":[{{"name":"f","description":"{text}"}}],"messages":[]}}"#)),
        (Api::Other, format!(r#"{{"input":"{text}"}}"#)),
        (Api::Other, format!(r#"{{"input":["{text}"]}}"#)),
        (Api::Other, format!(r#"{{"query":"{text}","documents":["a"]}}"#)),
        (Api::Other, format!(r#"{{"query":"a","documents":["{text}"]}}"#)),
        (Api::Other, format!(r#"{{"text_1":"{text}","text_2":["a","b"]}}"#)),
        (Api::Other, format!(r#"{{"text_1":"a","text_2":["{text}"]}}"#)),
        (Api::Other, format!(r#"{{"queries":["a"],"documents":["{text}"]}}"#)),
        (Api::Other, format!(r#"{{"query":"a","items":["{text}"]}}"#)),
        (Api::Other, format!(r#"{{"state":{{"a":"{text}"}},"questions":{{}}}}"#)),
        (Api::Other, format!(r#"{{"text":"{text}","sampling_params":{{}}}}"#)),
        (Api::Completions, format!(r#"{{"prompt":["{text}"]}}"#)),
    ];
    for (api, body) in cases {
        let other = body.replace("The rest", "the rest");
        let (prompt, _) = prompt_of(api, &body);
        assert!(prompt.tokens as usize >= text.len() / 4 && prompt.chain.blocks().len() >= text.len() / 8, "{body}");
        assert!(shared(api, &body, &other).0 <= 6, "{body}");
    }
    let ids = |body: &str| prompt_of(Api::Other, body).0.tokens;
    assert_eq!(ids(r#"{"input":[1,2,3]}"#), 3);
    assert_eq!(ids(r#"{"input":[[1,2],[3]]}"#), 3);
    assert_eq!(ids(r#"{"token_ids":[1,2,3],"sampling_params":{"max_tokens":4}}"#), 3);
    assert_eq!(ids(r#"{"tokens":[1,2]}"#), 2);
    assert_eq!(ids(r#"{"input_ids":[1,2]}"#), 2);
}

#[test]
fn an_input_that_is_a_string_is_the_user_s_message() {
    same(
        Api::Responses,
        &[
            format!(r#"{{"instructions":"Be brief.","input":"{LONG}"}}"#),
            format!(r#"{{"input":[{{"role":"user","content":"{LONG}"}}],"instructions":"Be brief."}}"#),
            format!(
                r#"{{"input":[{{"role":"user","content":[{{"type":"input_text","text":"{LONG}"}}]}}],"instructions":[{{"type":"input_text","text":"Be brief."}}],"text":{{"format":{{"type":"text"}}}}}}"#
            ),
        ],
    );
}

/// `text` in another spelling: with blanks, and with each character of its strings escaped.
fn respelled(text: &str) -> String {
    let mut out = String::new();
    let quoted = |raw: &[u8]| {
        let units: String = decoded(raw).encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        format!("\"{units}\"")
    };
    let mut fresh = true;
    Cursor::new(text.as_bytes())
        .walk(|token| {
            if !fresh && !matches!(token, Token::Close(_)) {
                out.push_str(" , ");
            }
            fresh = matches!(token, Token::Open(_) | Token::Key(_));
            match token {
                Token::Open(bracket) | Token::Close(bracket) => out.push(char::from(bracket)),
                Token::Key(raw) => out += &(quoted(raw) + "\t:\n"),
                Token::String(raw) => out += &quoted(raw),
                Token::Scalar(raw) => out += std::str::from_utf8(raw).unwrap(),
            }
        })
        .unwrap();
    out
}

proptest! {
    #[test]
    fn how_json_is_spelled_does_not_matter(value in crate::dialect::cursor::tests::any_value(), text in "\\PC{0,30}") {
        let body = json!({
            "messages": [{"role": "user", "content": [text, {"type": "x", "y": value}]}],
            "tools": [value], "documents": value, "input": value, "chat_template_kwargs": {"v": value},
        }).to_string();
        for api in [Api::Chat, Api::Responses, Api::Other] {
            let (a, b) = (prompt_of(api, &body), prompt_of(api, &respelled(&body)));
            prop_assert_eq!((a.0.chain, a.0.tokens, a.1), (b.0.chain, b.0.tokens, b.1));
        }
    }
}
