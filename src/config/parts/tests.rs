//! Tests of the parameters of settings.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::config::blueprint::{EngineSettings, PrefixSettings};

fn built(kind: &str, given: Value) -> Part {
    build(kind, &given).unwrap().unwrap().0
}

fn refused(kind: &str, given: Value) -> String {
    build(kind, &given).unwrap().unwrap_err().sentence
}

fn prefix(given: Value) -> PrefixSettings {
    let Part::Prefix(settings) = built(APPROX_PREFIX_CACHE_PRODUCER, given) else { panic!("another part") };
    settings
}

#[test]
fn every_part_builds_from_its_defaults_and_from_its_own_output() {
    for kind in TYPES {
        let given = if kind == FILE_DISCOVERY { json!({"path": "e.yaml"}) } else { Value::Null };
        let (part, written) = build(kind, &given).unwrap().unwrap();
        assert_eq!(build(kind, &written).unwrap().unwrap(), (part, written), "{kind}");
    }
    assert!(build("queue-scorer", &Value::Null).is_none());
}

#[test]
fn blocks_have_at_least_64_tokens_unless_configured() {
    let defaults = prefix(Value::Null);
    assert_eq!((defaults.block_tokens, defaults.blocks_max, defaults.capacity_blocks), (64, 2048, 31_250));
    assert!(defaults.auto_tune);
    assert_eq!(prefix(json!({"blockSizeTokens": 128})).block_tokens, 128);
    assert_eq!(prefix(json!({"blockSizeTokens": 16, "minBlockSizeTokens": 16})).block_tokens, 16);
    assert_eq!(prefix(json!({"blockSize": 256})).block_tokens, 256);
    assert_eq!(prefix(json!({"blockSize": 256, "blockSizeTokens": 128})).block_tokens, 128);
}

#[test]
fn the_cap_in_tokens_overrides_the_cap_in_blocks() {
    assert_eq!(prefix(json!({"maxPrefixTokensToMatch": 16384})).blocks_max, 256);
    assert_eq!(prefix(json!({"maxPrefixTokensToMatch": 0, "maxPrefixBlocksToMatch": 7})).blocks_max, 7);
    assert_eq!(prefix(json!({"maxPrefixTokensToMatch": 0, "maxPrefixBlocksToMatch": 0})).blocks_max, 1 << 20);
    assert_eq!(prefix(json!({"maxPrefixTokensToMatch": 1})).blocks_max, 1);
}

#[test]
fn unsupported_modes_are_reported_as_not_here_yet() {
    assert!(refused(TOKEN_PRODUCER, json!({"vllm": {"url": "https://x:1"}})).contains("not here yet"));
    assert!(refused(TOKEN_PRODUCER, json!({"udsTokenizerConfig": {}})).contains("not here yet"));
    assert!(refused(TOKEN_PRODUCER, json!({"estimate": {"image": {}}})).contains("not here yet"));
    assert!(refused(METRICS_DATA_SOURCE, json!({"scheme": "https"})).contains("not here yet"));
    assert!(refused(METRICS_DATA_SOURCE, json!({"caCertPath": "/ca"})).contains("not here yet"));
    assert!(refused(UTILIZATION_DETECTOR, json!({"metricsStalenessThreshold": "5s"})).contains("not here yet"));
    let custom = json!({"engineConfigs": [{"name": "mine", "customMetrics": [{}]}]});
    assert!(refused(CORE_METRICS_EXTRACTOR, custom).contains("not here yet"));
    assert_eq!(built(TOKEN_PRODUCER, json!({"modelName": "m", "estimate": {}})), Part::Tokens(None));
}

#[test]
fn a_source_has_a_path_a_port_and_an_interval() {
    let given = json!({"path": "/prometheus/metrics", "port": 9400, "interval": "1s"});
    let Part::Scrape(scrape) = built(METRICS_DATA_SOURCE, given) else { panic!("another part") };
    assert_eq!((scrape.path.as_str(), scrape.port), ("/prometheus/metrics", Some(9400)));
    assert_eq!(scrape.interval, Some(Duration::from_secs(1)));
    assert!(refused(METRICS_DATA_SOURCE, json!({"scheme": "ftp"})).contains("scheme must be"));
    assert!(refused(METRICS_DATA_SOURCE, json!({"path": "metrics"})).contains("path must begin"));
    assert!(refused(METRICS_DATA_SOURCE, json!({"port": 0})).contains("port must be"));
    assert!(refused(METRICS_DATA_SOURCE, json!({"interval": "soon"})).contains("is no duration"));
}

fn engines(given: Value) -> EngineSettings {
    let Part::Engines(settings) = built(CORE_METRICS_EXTRACTOR, given) else { panic!("another part") };
    settings
}

#[test]
fn llm_ds_engines_are_built_in_and_may_be_redefined() {
    let settings = engines(Value::Null);
    let names: Vec<&str> = settings.specs.iter().map(|spec| spec.name.as_str()).collect();
    assert_eq!(names, ["vllm", "sglang", "trtllm-serve", "triton-tensorrt-llm", "triton"]);
    assert_eq!(settings.label_key, "llm-d.ai/engine-type");
    use crate::dialect::engine::EngineSpec;
    let ours = [EngineSpec::vllm(), EngineSpec::sglang(), EngineSpec::trtllm_serve()];
    assert_eq!(settings.specs[..3], ours);
    let waiting = settings.specs[3].waiting.clone().unwrap();
    assert_eq!(waiting.family, "nv_trt_llm_request_metrics");
    assert_eq!(waiting.labels, [("request_type".to_owned(), "waiting".to_owned())]);

    let mine =
        engines(json!({"defaultEngine": "vllm", "engineConfigs": [{"name": "vllm", "queuedRequestsSpec": "q"}]}));
    assert_eq!(mine.specs.len(), 5);
    assert_eq!(mine.specs[0].waiting.clone().unwrap().family, "q");
    assert_eq!(mine.specs[0].kv_usage, None);
}

#[test]
fn engines_that_contradict_themselves_are_refused() {
    let one = |config: Value| refused(CORE_METRICS_EXTRACTOR, json!({"engineConfigs": [config]}));
    assert!(one(json!({"queuedRequestsSpec": "q"})).contains("needs a name"));
    assert!(one(json!({"name": "default"})).contains("needs a name"));
    for spec in ["q{", "q{a}", "9q", "q{a=\"b}", "q r", "q{=b}"] {
        assert!(one(json!({"name": "mine", "queuedRequestsSpec": spec})).contains("is no metric"), "{spec}");
    }
    let twice = json!({"engineConfigs": [{"name": "mine"}, {"name": "mine"}]});
    assert!(refused(CORE_METRICS_EXTRACTOR, twice).contains("two engines"));
    let message = refused(CORE_METRICS_EXTRACTOR, json!({"defaultEngine": "vlm"}));
    assert!(message.contains("known are `vllm`"), "{message}");
}

#[test]
fn thresholds_stay_in_their_range() {
    assert!(refused(UTILIZATION_DETECTOR, json!({"queueDepthThreshold": 0})).contains("queueDepthThreshold"));
    assert!(refused(UTILIZATION_DETECTOR, json!({"kvCacheUtilThreshold": 80})).contains("kvCacheUtilThreshold"));
    assert!(refused(INFLIGHT_LOAD_PRODUCER, json!({"outputRatio": -1})).contains("outputRatio"));
    assert!(refused(APPROX_PREFIX_CACHE_PRODUCER, json!({"lruCapacityPerServer": 0})).contains("lruCapacity"));
    assert!(refused(FILE_DISCOVERY, Value::Null).contains("`path` is missing"));
}
