//! Fields of a request that only a sidecar may set. A client's own are removed.
//!
//! `kv_transfer_params` tells an engine which host to pull KV blocks from, and an incomplete one ends vLLM's process. So a
//! client that could set it would choose where the engine connects to, or stop it. Must not know connectors.

use super::fields::Fields;

/// Top-level fields.
const OWNED: [&str; 5] =
    ["kv_transfer_params", "ec_transfer_params", "bootstrap_host", "bootstrap_port", "bootstrap_room"];
/// Objects that engines merge into their own, and where the same names count.
const NESTED: [(&str, Option<&str>); 3] =
    [("vllm_xargs", None), ("sampling_params", Some("extra_args")), ("extra_args", None)];

/// Removes them; returns the names of those that were set.
///
/// # Errors
/// One sentence, when an object that may hold one can't be read.
pub(crate) fn remove_owned(fields: &mut Fields<'_>) -> Result<Vec<&'static str>, String> {
    let mut removed = Vec::new();
    for name in OWNED {
        let set = fields.has(name);
        if fields.remove(name) && set {
            removed.push(name);
        }
    }
    for (outer, inner) in NESTED {
        let Some(text) = fields.raw(outer).filter(|text| may_name_owned(text)).map(str::to_owned) else { continue };
        let Some(mut object) = object(outer, &text)? else { continue };
        let found = match inner {
            None => remove_all(&mut object),
            Some(inner) => {
                let text = object.raw(inner).unwrap_or("{}").to_owned();
                let Some(mut nested) = self::object(inner, &text)? else { continue };
                let found = remove_all(&mut nested);
                if found.is_some() {
                    object.set(inner_name(inner), nested.text());
                }
                found
            }
        };
        if let Some(name) = found {
            fields.set(outer, object.text());
            removed.push(name);
        }
    }
    Ok(removed)
}

/// The object that a value is; `None` if it is another value, which holds no fields.
fn object<'b>(name: &str, text: &'b str) -> Result<Option<Fields<'b>>, String> {
    if !text.starts_with('{') {
        return Ok(None);
    }
    Fields::read(text.as_bytes()).map(Some).map_err(|why| format!("{name}: {why}"))
}

/// Whether an object has an owned name in it. One with an escape is looked at in full.
fn may_name_owned(text: &str) -> bool {
    text.contains('\\') || OWNED.iter().any(|name| text.contains(name))
}

fn remove_all(object: &mut Fields<'_>) -> Option<&'static str> {
    let removed: Vec<&'static str> = OWNED.into_iter().filter(|name| object.remove(name)).collect();
    removed.first().copied()
}

fn inner_name(inner: &str) -> &'static str {
    NESTED.iter().filter_map(|(_, name)| *name).find(|name| *name == inner).unwrap_or("extra_args")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn cleaned(body: &str) -> (String, Vec<&'static str>) {
        let mut fields = Fields::read(body.as_bytes()).unwrap();
        let removed = remove_owned(&mut fields).unwrap();
        (fields.text(), removed)
    }

    #[test]
    fn transfer_parameters_of_a_client_are_removed_wherever_an_engine_reads_them() {
        for (body, expected, removed) in [
            (r#"{"kv_transfer_params":{"do_remote_prefill":true},"a":1}"#, r#"{"a":1}"#, vec!["kv_transfer_params"]),
            (r#"{"k\u0076_transfer_params":{},"a":1}"#, r#"{"a":1}"#, vec!["kv_transfer_params"]),
            (r#"{"kv_transfer_params":null,"a":1}"#, r#"{"a":1}"#, vec![]),
            (r#"{"ec_transfer_params":{},"bootstrap_room":7}"#, "{}", vec!["ec_transfer_params", "bootstrap_room"]),
            (
                r#"{"vllm_xargs":{"kv_transfer_params":"x","b":1}}"#,
                r#"{"vllm_xargs":{"b":1}}"#,
                vec!["kv_transfer_params"],
            ),
            (
                r#"{"sampling_params":{"max_tokens":2,"extra_args":{"kv_transfer_params":{}}}}"#,
                r#"{"sampling_params":{"max_tokens":2,"extra_args":{}}}"#,
                vec!["kv_transfer_params"],
            ),
            (
                r#"{"vllm_xargs":{ "b" : "\n" },"messages":[{"content":"kv_transfer_params"}]}"#,
                r#"{"vllm_xargs":{ "b" : "\n" },"messages":[{"content":"kv_transfer_params"}]}"#,
                vec![],
            ),
        ] {
            assert_eq!(cleaned(body), (expected.to_owned(), removed), "{body}");
        }
    }

    #[test]
    fn an_object_that_can_not_be_read_is_refused_and_not_passed() {
        for body in [
            r#"{"vllm_xargs":{"\ud800":1,"kv_transfer_params":"x"}}"#,
            r#"{"sampling_params":{"extra_args":{"\ud800":1,"kv_transfer_params":{}}}}"#,
        ] {
            let why = remove_owned(&mut Fields::read(body.as_bytes()).unwrap()).unwrap_err();
            assert!(why.contains("_args: ") || why.contains("_xargs: "), "{why}");
        }
    }
}
