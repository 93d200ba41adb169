//! What reading a metrics page promises, on pages that a real vLLM served.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

const IDLE: &str = include_str!("../../../tests/fixtures/vllm/metrics-idle-fresh.txt");
const LORA: &str = include_str!("../../../tests/fixtures/vllm/metrics-lora-load-5.txt");
const DP2: &str = include_str!("../../../tests/fixtures/vllm/metrics-dp2.txt");
const OVERLOAD: &str = include_str!("../../../tests/fixtures/vllm/metrics-overload.txt");

fn vllm(page: &str) -> Result<LoadReport, PageError> {
    read_page(page.as_bytes(), &EngineSpec::vllm())
}

fn page(lines: &str) -> Result<LoadReport, PageError> {
    vllm(&format!("vllm:num_requests_running 1\nvllm:kv_cache_usage_perc 0.5\nvllm:num_requests_waiting 2\n{lines}\n"))
}

/// The sum of a family on a page, found the slow way.
fn slow_sum(page: &str, family: &str) -> f64 {
    let lines = page.lines().filter(|line| line.starts_with(&format!("{family}{{")));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[test]
fn real_pages_give_what_is_written_on_them() {
    for text in [IDLE, LORA, DP2, OVERLOAD] {
        let report = vllm(text).unwrap();
        assert_eq!(f64::from(report.waiting), slow_sum(text, "vllm:num_requests_waiting"));
        assert_eq!(f64::from(report.running), slow_sum(text, "vllm:num_requests_running"));
        assert!(report.awake);
    }
    let cache = vllm(IDLE).unwrap().cache.unwrap();
    assert_eq!((cache.block_tokens, cache.blocks), (32, 512));
    assert!(vllm(OVERLOAD).unwrap().waiting > 0);
}

#[test]
fn engines_behind_one_port_are_summed_and_their_kv_use_is_averaged() {
    let text = "vllm:num_requests_waiting{engine=\"0\"} 3\nvllm:num_requests_waiting{engine=\"1\"} 4.0\n\
                vllm:num_requests_running{engine=\"0\"} 1\nvllm:num_requests_running{engine=\"1\"} 1e0\n\
                vllm:kv_cache_usage_perc{engine=\"0\"} 0.25\nvllm:kv_cache_usage_perc{engine=\"1\"} 0.75\n";
    let report = vllm(text).unwrap();
    assert_eq!((report.waiting, report.running, report.kv_usage), (7, 2, 0.5));
    assert_eq!(vllm(DP2).unwrap().cache.unwrap().blocks % 2, 0);
}

#[test]
fn a_family_whose_name_only_begins_alike_is_another() {
    let report = page("vllm:num_requests_waiting_by_reason{reason=\"capacity\"} 99").unwrap();
    assert_eq!(report.waiting, 2);
}

#[test]
fn the_newest_adapters_count_although_old_ones_stay_on_the_page() {
    let adapters = vllm(LORA).unwrap().adapters.unwrap();
    assert_eq!(adapters.max, 2);
    let newest = LORA.lines().filter(|line| line.starts_with("vllm:lora_requests_info{"));
    let newest = newest.max_by(|a, b| {
        let value = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        value(a).total_cmp(&value(b))
    });
    let expected = newest.unwrap().split("running_lora_adapters=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(adapters.running.join(","), expected);
}

#[test]
fn a_sleeping_engine_is_told_from_a_waking_one() {
    assert!(!page("vllm:engine_sleep_state{sleep_state=\"awake\"} 0.0").unwrap().awake);
    assert!(page("vllm:engine_sleep_state{sleep_state=\"awake\"} 1.0").unwrap().awake);
    assert!(page("").unwrap().awake);
}

#[test]
fn labels_may_hold_anything() {
    let text = r#"vllm:lora_requests_info{max_lora="4",running_lora_adapters="a\"}b,c\\",waiting_lora_adapters=""} 5 1700000000"#;
    let adapters = page(text).unwrap().adapters.unwrap();
    assert_eq!(adapters.running, ["a\"}b", "c\\"]);
    assert!(adapters.waiting.is_empty());
}

#[test]
fn numbers_that_can_not_be_are_errors_and_never_zeros() {
    for bad in ["NaN", "+Inf", "-1", "x", ""] {
        let text =
            format!("vllm:num_requests_running 1\nvllm:kv_cache_usage_perc 0.5\nvllm:num_requests_waiting {bad}\n");
        assert_eq!(vllm(&text).unwrap_err().kind(), "torn", "{bad}");
    }
}

#[test]
fn a_page_of_something_else_is_foreign_and_says_what_was_missed() {
    let error = vllm("<html>\n<body>hello</body>\n</html>\n").unwrap_err();
    assert_eq!(error.kind(), "foreign");
    assert!(error.to_string().contains("vllm:num_requests_waiting"), "{error}");
    assert!(error.to_string().contains("llm-d.ai/engine-type"), "{error}");
}

#[test]
fn a_page_without_one_of_its_gauges_is_torn() {
    let error = vllm("vllm:num_requests_waiting 1\nvllm:num_requests_running 1\n").unwrap_err();
    assert_eq!(error, PageError::Torn("it has no vllm:kv_cache_usage_perc".to_owned()));
}

#[test]
fn a_page_cut_anywhere_is_an_error_or_says_the_same_of_load() {
    let whole = vllm(LORA).unwrap();
    for cut in 0..LORA.len() {
        if let Ok(report) = vllm(&LORA[..cut]) {
            let same =
                (report.waiting, report.running, report.kv_usage) == (whole.waiting, whole.running, whole.kv_usage);
            assert!(same, "cut at {cut}: {report:?}");
        }
    }
}

#[test]
fn other_engines_speak_their_own_names() {
    let text = "sglang:num_queue_reqs 1\nsglang:num_running_reqs 2\nsglang:token_usage 0.5\n\
                sglang:cache_config_info{page_size=\"64\",num_pages=\"10\"} 1\n";
    let report = read_page(text.as_bytes(), &EngineSpec::sglang()).unwrap();
    assert_eq!((report.waiting, report.running, report.cache.unwrap().blocks), (1, 2, 10));
    let text = "trtllm_num_requests_waiting 1\ntrtllm_num_requests_running 2\ntrtllm_kv_cache_utilization 0.5\n\
                trtllm_kv_cache_tokens_per_block 32\ntrtllm_kv_cache_max_blocks 100\n";
    let report = read_page(text.as_bytes(), &EngineSpec::trtllm_serve()).unwrap();
    assert_eq!(report.cache, Some(CacheGeometry { block_tokens: 32, blocks: 100 }));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_page(&bytes, &EngineSpec::vllm());
    }

    #[test]
    fn no_line_of_a_wanted_family_makes_it_panic(rest in "[{}\",= a-z0-9.\\\\]{0,40}") {
        let _ = vllm(&format!("vllm:lora_requests_info{rest}\n"));
        let _ = vllm(&format!("vllm:num_requests_waiting{rest}\n"));
    }
}
