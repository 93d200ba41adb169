//! The page compared with those captured from a real engine.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};

use murmuration::time::Timestamp;

use super::*;
use crate::http::meters::Answered;
use crate::model::Request;

const FRESH: &str = include_str!("../../../../../tests/fixtures/vllm/metrics-idle-fresh.txt");
const LOADED: &str = include_str!("../../../../../tests/fixtures/vllm/metrics-lora-load-5.txt");

/// A family: type, help, and for each name of its samples the keys of its labels and the bounds of its buckets.
#[derive(Debug, Default, PartialEq)]
struct Family {
    kind: String,
    help: String,
    keys: BTreeMap<String, BTreeSet<Vec<String>>>,
    bounds: BTreeSet<String>,
}

fn families(page: &str) -> (Vec<String>, BTreeMap<String, Family>) {
    let (mut order, mut families) = (Vec::new(), BTreeMap::<String, Family>::new());
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            order.push(name.to_owned());
            families.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            families.get_mut(name).unwrap().kind = kind.to_owned();
        } else {
            let family = families.get_mut(order.last().unwrap()).unwrap();
            let (series, _) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            // No captured value has a quote in it.
            let pairs: Vec<&str> = labels.trim_end_matches('}').split("\",").filter(|pair| !pair.is_empty()).collect();
            let keys = pairs.iter().map(|pair| pair.split_once('=').unwrap().0.to_owned()).collect();
            family.keys.entry(name.to_owned()).or_default().insert(keys);
            family.bounds.extend(pairs.iter().filter(|pair| pair.starts_with("le=")).map(|pair| (*pair).to_owned()));
        }
    }
    (order, families)
}

fn same(ours: &str, theirs: &str) {
    let ((our_order, ours), (their_order, theirs)) = (families(ours), families(theirs));
    assert_eq!(our_order, their_order);
    for (name, family) in &theirs {
        assert_eq!(&ours[name], family, "{name}");
    }
}

fn model(adapters: &[&str]) -> EngineModel {
    let adapters = adapters.iter().map(|name| (*name).to_owned()).collect();
    EngineModel::new(EngineConfig { adapters, ..EngineConfig::default() })
}

#[test]
fn a_fresh_page_has_the_families_of_a_fresh_real_one() {
    same(&render(&model(&[]), &Meters::new(), 1.0e9), FRESH);
}

#[test]
fn a_page_under_load_has_the_families_of_a_real_one_under_load() {
    let (mut model, mut meters) = (model(&["lora-a", "lora-b"]), Meters::new());
    let adapter = Some("lora-a".to_owned());
    model.submit(Request { id: 1, tokens: vec![1; 40], adapter, salt: None, max_tokens: 4 }, Timestamp::ZERO).unwrap();
    meters.adapters(&model.gauges(), Timestamp::ZERO);
    let request_bytes = 10;
    let (status, response_bytes, seconds) = (200, 20, 0.5);
    let (handler, method) = ("/v1/completions", "POST");
    meters.answered(Answered { handler, method, status, request_bytes, response_bytes, seconds });
    same(&render(&model, &meters, 1.0e9), LOADED);
}

#[test]
fn the_page_shows_the_models_gauges_and_counters() {
    let mut model = model(&["lora-a"]);
    for id in 0..70 {
        let tokens = (0..160).map(|token| if token < 80 { token } else { id as u32 }).collect();
        let adapter = Some("lora-a".to_owned());
        model.submit(Request { id, tokens, adapter, salt: None, max_tokens: 4 }, Timestamp::ZERO).unwrap();
    }
    let mut meters = Meters::new();
    meters.adapters(&model.gauges(), Timestamp::from_millis(2500));
    let page = render(&model, &meters, 1.0e9);
    let value = |series: &str| -> f64 {
        let line = page.lines().find_map(|line| line.strip_prefix(series));
        line.unwrap_or_else(|| panic!("{series} is not there")).trim().parse().unwrap()
    };
    let gauges = model.gauges();
    let own = r#"{engine="0",model_name="tiny"}"#;
    assert_eq!(value(&format!("vllm:num_requests_running{own}")), gauges.running as f64);
    assert_eq!(value(&format!("vllm:num_requests_waiting{own}")), gauges.waiting as f64);
    assert_eq!(value(&format!("vllm:kv_cache_usage_perc{own}")), gauges.kv_usage);
    assert!(gauges.waiting > 0 && gauges.running > 0 && gauges.kv_usage > 0.0);
    let seen = r#"vllm:lora_requests_info{max_lora="2",running_lora_adapters="lora-a",waiting_lora_adapters="lora-a"}"#;
    assert_eq!(value(seen), 1.0e9 + 2.5);
    assert_eq!(value(&format!("vllm:prompt_tokens_total{own}")), model.counters().prompt_tokens as f64);
}

#[test]
fn numbers_on_the_page_parse_back() {
    let page = render(&model(&[]), &Meters::new(), 1_795_340_640.25);
    let started = page.lines().find_map(|line| line.strip_prefix("process_start_time_seconds ")).unwrap();
    assert_eq!(started.parse::<f64>().unwrap(), 1_795_340_640.25);
}

#[test]
fn numbers_are_written_as_on_a_captured_page() {
    let captured = [
        (13_719.0, "13719.0"),
        (2_548_514_816.0, "2.548514816e+09"),
        (1_795_340_640.263_126_9, "1.7953406402631269e+09"),
        (0.500_978_473_581_213_3, "0.5009784735812133"),
        (999_999.0, "999999.0"),
        (1_000_000.0, "1e+06"),
        (f64::INFINITY, "+Inf"),
        (0.0, "0.0"),
    ];
    for (value, text) in captured {
        assert_eq!(number(value), text);
    }
}

#[test]
fn labels_are_escaped_and_bounds_stand_in_their_order() {
    let model = EngineModel::new(EngineConfig { model: "a\"b".to_owned(), ..EngineConfig::default() });
    let mut meters = Meters::new();
    meters.observe("vllm:request_params_n", 1.5);
    let page = render(&model, &meters, 1.0);
    for (bound, count) in [("1.0", "0.0"), ("2.0", "1.0"), ("+Inf", "1.0")] {
        let labels = format!(r#"{{engine="0",le="{bound}",model_name="a\"b"}}"#);
        let line = format!("vllm:request_params_n_bucket{labels} {count}\n");
        assert!(page.contains(&line), "{line}");
    }
    assert!(page.contains(r#"vllm:request_params_n_created{engine="0",model_name="a\"b"} 1.0"#), "{page}");
}
