//! What engines list, against what was decided.

use serde_json::json;

use super::*;

const ID: &str = "7f-1";

fn ran(engine: &str, served: Value) -> Ran {
    let mut all = json!({ "request_id": ID, "keeps": false, "encoded": 0, "loaded": 0 });
    for (key, value) in served.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    Ran { engine: engine.to_owned(), process: json!(format!("process of {engine}")), served: all }
}

fn pair() -> Legs {
    Legs { decode: "d".to_owned(), prefill: Some("p".to_owned()), encode: None }
}

fn both() -> Vec<Ran> {
    vec![ran("p", json!({ "keeps": true })), ran("d", json!({ "pulled_from": "process of p" }))]
}

#[test]
fn both_legs_of_a_pair_must_have_run_where_it_was_decided() {
    assert_eq!(fits(&pair(), &both(), ID), Ok(()));
    let faults: [(Vec<Ran>, &str); 6] = [
        (vec![both()[1].clone()], "it ran on"),
        ([both(), vec![ran("q", json!({}))]].concat(), "it ran on"),
        ([both(), vec![both()[0].clone()]].concat(), "it ran on"),
        (vec![ran("q", json!({ "keeps": true })), both()[1].clone()], "it ran on"),
        (vec![ran("p", json!({})), both()[1].clone()], "p kept no KV"),
        (vec![both()[0].clone(), ran("d", json!({}))], "d has no KV of p"),
    ];
    for (ran, part) in faults {
        assert!(fits(&pair(), &ran, ID).is_err_and(|why| why.contains(part)), "{part}: {ran:?}");
    }
}

#[test]
fn who_decodes_alone_has_no_kv_of_others() {
    let alone = Legs { decode: "d".to_owned(), ..Legs::default() };
    assert_eq!(fits(&alone, &[ran("d", json!({}))], ID), Ok(()));
    assert!(fits(&alone, &both(), ID).is_err());
    assert!(fits(&alone, &both()[1..], ID).is_err_and(|why| why.contains("has KV of another engine")));
}

#[test]
fn images_are_encoded_where_it_was_decided_and_their_embeddings_loaded() {
    let legs = Legs { encode: Some("e".to_owned()), ..pair() };
    let encoded = ran("e", json!({ "request_id": format!("{ID}-enc-0"), "encoded": 1 }));
    let (prefill, decode) = (ran("p", json!({ "keeps": true, "loaded": 1 })), both()[1].clone());
    let with = |encoder: &Ran, prefill: &Ran| fits(&legs, &[encoder.clone(), prefill.clone(), decode.clone()], ID);
    assert_eq!(with(&encoded, &prefill), Ok(()));
    assert!(with(&encoded, &ran("p", json!({ "keeps": true, "encoded": 1 }))).is_err());
    let elsewhere = Ran { engine: "f".to_owned(), ..encoded };
    assert!(with(&elsewhere, &prefill).is_err_and(|why| why.contains("f encoded for it")));
    assert!(fits(&legs, &[prefill, decode.clone()], ID).is_err());
}

#[test]
fn engines_have_the_role_that_they_were_chosen_for() {
    let engine =
        |name: &str, role| PdEngine { name: name.to_owned(), role, address: SocketAddr::from(([127, 0, 0, 1], 1)) };
    assert_eq!(roles_fit(&[engine("p", Role::Prefill), engine("d", Role::Decode)], &pair()), Ok(()));
    assert!(roles_fit(&[engine("p", Role::Decode), engine("d", Role::Decode)], &pair()).is_err());
}

#[test]
fn a_decision_names_the_first_endpoint_of_each_stage() {
    let leg = |stage: &str, endpoint: &str| json!({ "stage": stage, "targets": [{ "endpoint": endpoint }, { "endpoint": "x/y" }] });
    let decision = json!({ "legs": [leg("decode", "testbed/d"), leg("prefill", "testbed/p")] });
    assert_eq!(decided(&decision), Ok(pair()));
    assert!(decided(&json!({ "legs": [] })).is_err());
}
