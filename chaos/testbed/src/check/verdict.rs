//! The verdict on the answers: each one alone, and answers compared with each other.
//!
//! Must not know sockets.

use std::collections::BTreeMap;

use http::StatusCode;
use murmuration::request::RefusalCode;
use murmuration_kit::client::{Answer, ENGINE_NAME};
use murmuration_proto::names;
use serde_json::Value;

use super::client_request::Heard;
use super::prefixes::{MeetingRule, Visit, cached_share};
use super::reading::{self, Reading, excerpt};
use super::report::Report;
use super::workload::{Api, Expected};

/// Checks answers to the mixed workload.
pub(super) fn answers(heard: &[Heard], report: &mut Report) {
    let mut seen = BTreeMap::new();
    for heard in heard {
        report.count(heard);
        let verdict = match &heard.expected {
            Expected::Answer { api, model, prompt, .. } => answer(heard, *api, model)
                .and_then(|reading| same(&mut seen, (model.as_str(), prompt.as_str()), &heard.label, reading)),
            Expected::OurRefusal => refusal(heard),
            Expected::NotFound => not_found(heard),
            Expected::Page => Ok(()),
        };
        if let Err(why) = verdict {
            report.fail(format!("{}: {why}", heard.label));
        }
    }
}

/// Checks answers to requests with shared prefixes: each alone, and where each group was answered.
pub(super) fn groups(heard: &[Heard], rule: MeetingRule, report: &mut Report) {
    let mut groups: BTreeMap<usize, Vec<Visit>> = BTreeMap::new();
    for heard in heard {
        report.count(heard);
        let Expected::Answer { api, model, group: Some(group), .. } = &heard.expected else { continue };
        let visit = answer(heard, *api, model).and_then(|reading| {
            let Reading { prompt_tokens, cached_tokens, .. } = reading;
            Ok(Visit { engine: engine(heard)?, prompt_tokens, cached_tokens })
        });
        match visit {
            Ok(visit) => groups.entry(*group).or_default().push(visit),
            Err(why) => report.fail(format!("{}: {why}", heard.label)),
        }
    }
    for (group, visits) in &groups {
        for error in rule.errors(&format!("group {group}"), visits) {
            report.fail(error);
        }
    }
    report.cached_share = (cached_share(groups.values().flatten()) * 10_000.0).round() / 10_000.0;
}

/// Checks the list of models; returns the name of an adapter, where there is one.
///
/// # Errors
/// A sentence that describes the failure.
pub(super) fn models(heard: &Heard, model: &str) -> Result<Option<String>, String> {
    let fail = |why: String| format!("{}: {why}", heard.label);
    let came = came(heard).map_err(fail)?;
    if came.status != StatusCode::OK {
        return Err(fail(format!("answered {}: {}", came.status, excerpt(&came.body))));
    }
    engine(heard).map_err(fail)?;
    let page: Value = serde_json::from_slice(&came.body).map_err(|why| fail(format!("the body is no JSON: {why}")))?;
    let cards = page["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !cards.iter().any(|card| card["id"] == model) {
        return Err(fail(format!("{model} is not in the list: {}", excerpt(&came.body))));
    }
    let adapter = cards.iter().find(|card| card["parent"].is_string());
    Ok(adapter.and_then(|card| card["id"].as_str()).map(str::to_owned))
}

/// Checks one answer of an engine.
fn answer(heard: &Heard, api: Api, model: &str) -> Result<Reading, String> {
    let reading = reading::read(came(heard)?, heard.streamed, api, model)?;
    engine(heard)?;
    Ok(reading)
}

/// By model and prompt, the first answer: the label of its request, and the reading.
type Seen<'h> = BTreeMap<(&'h str, &'h str), (&'h str, Reading)>;

/// The same prompt must have the same answer, with and without a picker, from every engine.
fn same<'h>(seen: &mut Seen<'h>, prompt: (&'h str, &'h str), label: &'h str, reading: Reading) -> Result<(), String> {
    let Some((first, before)) = seen.get(&prompt) else {
        seen.insert(prompt, (label, reading));
        return Ok(());
    };
    if before.prompt_tokens != reading.prompt_tokens {
        let (ours, theirs) = (reading.prompt_tokens, before.prompt_tokens);
        return Err(format!(
            "its prompt has {ours} tokens where the same one had {theirs} in {first:?}; \
             was the body altered on its way?"
        ));
    }
    if before.text != reading.text {
        let (ours, theirs) = (excerpt(reading.text.as_bytes()), excerpt(before.text.as_bytes()));
        return Err(format!(
            "its text is {ours} where the same prompt had {theirs} in {first:?}; \
             was a body altered on its way?"
        ));
    }
    Ok(())
}

/// Expects the picker's own 400.
fn refusal(heard: &Heard) -> Result<(), String> {
    let came = came(heard)?;
    let code = RefusalCode::BadRequest;
    let right = came.status.as_u16() == code.status()
        && came.header(names::DROPPED_REASON) == Some(code.as_str())
        && came.body.starts_with(format!("inference error: {} - ", code.word()).as_bytes());
    if right {
        return Ok(());
    }
    let reason = came.header(names::DROPPED_REASON);
    let (status, body) = (came.status, excerpt(&came.body));
    Err(format!("answered {status}, reason {reason:?}, {body} where the picker's own 400 was due"))
}

/// Expects the engine's own 404.
fn not_found(heard: &Heard) -> Result<(), String> {
    let came = came(heard)?;
    let error = serde_json::from_slice::<Value>(&came.body).map(|body| body["error"].clone()).unwrap_or_default();
    let right = came.status == StatusCode::NOT_FOUND
        && error["code"] == 404
        && error["type"] == "NotFoundError"
        && error["message"].is_string();
    if !right {
        let (status, body) = (came.status, excerpt(&came.body));
        return Err(format!("answered {status}, {body} where the engine's own 404 was due"));
    }
    engine(heard).map(drop)
}

fn came(heard: &Heard) -> Result<&Answer, String> {
    heard.came.as_ref().map_err(Clone::clone)
}

fn engine(heard: &Heard) -> Result<String, String> {
    let missing = || format!("it has no header {ENGINE_NAME}; did it come from an engine?");
    heard.engine().map(str::to_owned).ok_or_else(missing)
}
