//! Tests of the handler's steps.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::plugin::decider::{AlwaysDisaggMultimodalDecider, AlwaysDisaggPdDecider, PrefixBasedPdDecider};
use crate::plugin::testing::{request, target};
use crate::plugin::{Decider, parameters};
use crate::request::InferenceRequest;
use crate::schedule::Ask;
use crate::schedule::named::Named;

const DECIDERS: &str = r#"{"prefill": "pd", "encode": "media"}"#;

fn handler(json: &str) -> Result<DisaggProfileHandler, String> {
    let value = serde_json::from_str(json).unwrap();
    DisaggProfileHandler::build(parameters::read(&value).map_err(|fault| fault.sentence)?)
}

fn named<D: Decider + 'static>(name: &str, decider: D) -> Named<dyn Decider> {
    Named::new(name, "", Arc::new(decider))
}

/// Runs the handler with `pd` as its prefill decider. `found` has what each profile chooses; a profile that is missing
/// there chooses nothing. Returns the profiles that ran and the decision's, `None` if it refused.
fn run(
    handler: &DisaggProfileHandler,
    request: &InferenceRequest,
    pd: Named<dyn Decider>,
    found: &[&str],
) -> (Vec<String>, Option<Vec<String>>) {
    let ask = Ask::sure(request);
    let profiles = ["decode", "prefill", "encode", "all"].map(str::to_owned);
    let deciders = [pd, named("media", AlwaysDisaggMultimodalDecider)];
    let mut steps = Steps::new(&ask, &profiles, &deciders);
    let mut ran = Vec::new();
    for _ in 0..10 {
        match handler.next(&mut steps) {
            Step::Run { profile, stage } => {
                ran.push(profile.to_owned());
                let targets = found.contains(&profile).then(|| target(profile, 0));
                steps.ran_for_test(profile, stage, targets.into_iter().collect());
            }
            Step::Done(done) => return (ran, Some(done.into_iter().map(str::to_owned).collect())),
            Step::Refuse | Step::Reject(_) | Step::Pair { .. } => return (ran, None),
        }
    }
    panic!("no end after {ran:?}");
}

fn always() -> Named<dyn Decider> {
    named("pd", AlwaysDisaggPdDecider)
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_decider_makes_a_stage_active_and_the_destination_comes_first() {
    let all = ["decode", "prefill", "encode"];
    let both = handler(&format!(r#"{{"deciders": {DECIDERS}}}"#)).unwrap();
    let mut request = request(1, 4);
    assert_eq!(run(&both, &request, always(), &all).1, Some(strings(&["decode", "prefill"])));
    request.prompt.media = 1;
    let (ran, done) = run(&both, &request, always(), &all);
    assert_eq!(ran, ["decode", "encode", "prefill"], "as llm-d orders them");
    assert_eq!(done, Some(ran));
    let none = handler("{}").unwrap();
    assert_eq!(run(&none, &request, always(), &all), (strings(&["decode"]), Some(strings(&["decode"]))));
}

#[test]
fn a_decider_may_decline() {
    let handler = handler(&format!(r#"{{"deciders": {DECIDERS}}}"#)).unwrap();
    let never = named("pd", PrefixBasedPdDecider::build(Default::default()).unwrap());
    let (ran, done) = run(&handler, &request(1, 4), never, &["decode", "prefill"]);
    assert_eq!((ran, done), (strings(&["decode"]), Some(strings(&["decode"]))));
}

#[test]
fn a_prefill_stage_without_an_endpoint_refuses_and_an_encode_stage_is_left_out() {
    let plain = handler(&format!(r#"{{"deciders": {DECIDERS}}}"#)).unwrap();
    let mut request = request(1, 4);
    request.prompt.media = 1;
    assert_eq!(run(&plain, &request, always(), &["decode", "encode"]).1, None);
    assert_eq!(run(&plain, &request, always(), &["prefill"]).1, None, "nobody decodes");
    let without_encoder = run(&plain, &request, always(), &["decode", "prefill"]).1;
    assert_eq!(without_encoder, Some(strings(&["decode", "prefill"])));
}

#[test]
fn a_fallback_profile_serves_alone_where_a_stage_finds_no_endpoint() {
    let json = r#"{"profiles": {"fallback": "all"}, "deciders": {"prefill": "pd"}}"#;
    let handler = handler(json).unwrap();
    let request = request(1, 4);
    let (ran, done) = run(&handler, &request, always(), &["decode", "all"]);
    assert_eq!((ran, done), (strings(&["decode", "prefill", "all"]), Some(strings(&["all"]))));
    assert_eq!(run(&handler, &request, always(), &["all"]).1, Some(strings(&["all"])));
    assert_eq!(run(&handler, &request, always(), &[]).1, None);
}

#[test]
fn prefill_first_prefills_each_request_and_still_sends_it_to_the_decode_endpoint() {
    let handler = handler(r#"{"stageOrder": "Prefill_First", "deciders": {"encode": "media"}}"#).unwrap();
    let (ran, done) = run(&handler, &request(1, 4), always(), &["decode", "prefill"]);
    assert_eq!((ran, done), (strings(&["prefill", "decode"]), Some(strings(&["decode", "prefill"]))));
    assert_eq!(run(&handler, &request(1, 4), always(), &["decode"]).1, None);
}

#[test]
fn contradictory_parameters_are_refused_and_older_spellings_are_read() {
    let why = |json: &str| handler(json).unwrap_err();
    assert!(why(r#"{"stageOrder": "sideways"}"#).contains("`sideways`"));
    assert!(why(r#"{"stageOrder": "prefill-first", "deciders": {"prefill": "pd"}}"#).contains("no prefill decider"));
    assert!(why(r#"{"profiles": {"fallback": "decode"}}"#).contains("`decode` is a stage's"));
    assert!(why(r#"{"profiles": {"prefill": "decode"}}"#).contains("three profiles"));
    let older = handler(r#"{"decodeProfile": "d", "prefillProfile": "p", "deciderPluginName": "pd"}"#).unwrap();
    assert_eq!((older.stages.decode.as_str(), older.stages.prefill.as_str()), ("d", "p"));
    assert_eq!(older.deciders(), ["pd"]);
    let pd = PdProfileHandler::build(PdParameters::default()).unwrap();
    assert_eq!(pd.deciders(), ["prefix-based-pd-decider"]);
    assert_eq!(pd.runs(), Runs::Named { required: vec!["decode"], optional: vec!["prefill"] }, "no decider for encode");
}
