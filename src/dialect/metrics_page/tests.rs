//! Tests of reading a metrics page, on pages of a real vLLM.

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
fn a_sleeping_engine_is_distinguished_from_an_awake_one() {
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
fn a_value_that_is_no_number_makes_no_page() {
    for bad in ["x", ""] {
        let text =
            format!("vllm:num_requests_running 1\nvllm:kv_cache_usage_perc 0.5\nvllm:num_requests_waiting {bad}\n");
        assert_eq!(vllm(&text).unwrap_err().kind(), "torn", "{bad}");
    }
}

#[test]
fn an_impossible_number_is_unknown_and_the_rest_of_the_page_counts() {
    for bad in ["NaN", "+Inf", "-1"] {
        let text =
            format!("vllm:num_requests_running 1\nvllm:kv_cache_usage_perc {bad}\nvllm:num_requests_waiting 50\n");
        let report = vllm(&text).unwrap();
        assert_eq!((report.waiting(), report.running(), report.kv_usage()), (Some(50), Some(1), None), "{bad}");
    }
    let text = "vllm:num_requests_running 1\nvllm:num_requests_waiting{engine=\"0\"} 3\nvllm:num_requests_waiting{engine=\"1\"} NaN\n";
    assert_eq!(vllm(text).unwrap().waiting(), None, "a sum with an unknown part is unknown");
    let text = "vllm:num_requests_running NaN\nvllm:kv_cache_usage_perc NaN\nvllm:num_requests_waiting NaN\n";
    assert_eq!(vllm(text).unwrap_err().kind(), "torn", "a page without gauges gives no report");
}

#[test]
fn a_page_without_one_of_its_gauges_counts_for_the_others() {
    let lines = ["vllm:num_requests_waiting 50\n", "vllm:num_requests_running 4\n", "vllm:kv_cache_usage_perc 0.5\n"];
    for missing in 0..3 {
        let text: String = (0..3).filter(|&line| line != missing).map(|line| lines[line]).collect();
        let report = vllm(&text).unwrap();
        let reported = [report.waiting().map(f64::from), report.running().map(f64::from), report.kv_usage()];
        let expected = [Some(50.0), Some(4.0), Some(0.5)];
        assert!((0..3).all(|i| reported[i] == expected[i].filter(|_| i != missing)), "{reported:?}");
        let shown = serde_json::to_value(&report).unwrap();
        assert!(shown[["waiting", "running", "kv_usage"][missing]].is_null(), "{shown}");
    }
}

#[test]
fn the_name_that_a_gauge_had_before_is_read_where_the_new_one_is_not() {
    let text = "vllm:num_requests_waiting 1\nvllm:num_requests_running 2\nvllm:gpu_cache_usage_perc 0.75\n";
    assert_eq!(vllm(text).unwrap().kv_usage(), Some(0.75));
    assert_eq!(vllm(&format!("{text}vllm:kv_cache_usage_perc 0.25\n")).unwrap().kv_usage(), Some(0.25));
}

/// A page of SGLang with a queue of 3 for each of these label sets.
fn sglang(labels: &[&str]) -> LoadReport {
    let series = |labels: &&str| {
        format!(
            "sglang:num_queue_reqs{{model_name=\"m\",{labels}}} 3.0\nsglang:num_running_reqs{{model_name=\"m\",{labels}}} 2.0\n\
             sglang:token_usage{{model_name=\"m\",{labels}}} 0.5\n"
        )
    };
    read_page(labels.iter().map(series).collect::<String>().as_bytes(), &EngineSpec::sglang()).unwrap()
}

#[test]
fn ranks_that_repeat_one_queue_count_once_and_ranks_that_split_it_are_summed() {
    let of = |labels: &[String]| {
        let report = sglang(&labels.iter().map(String::as_str).collect::<Vec<_>>());
        (report.waiting, report.running, report.kv_usage)
    };
    let repeated: Vec<_> = (0..8).map(|rank| format!("tp_rank=\"{rank}\",pp_rank=\"0\"")).collect();
    assert_eq!(of(&repeated), (3, 2, 0.5), "eight workers of one engine");
    let pipeline: Vec<_> = (0..4).map(|rank| format!("tp_rank=\"{}\",pp_rank=\"{}\"", rank % 2, rank / 2)).collect();
    assert_eq!(of(&pipeline), (3, 2, 0.5), "two stages of two workers each");
    let split: Vec<_> = (0..8).map(|rank| format!("dp_rank=\"{rank}\",tp_rank=\"{rank}\"")).collect();
    assert_eq!(of(&split), (24, 16, 0.5), "eight parts with a queue each");
    let both: Vec<_> = (0..8).map(|rank| format!("tp_rank=\"{rank}\",dp_rank=\"{}\"", rank / 4)).collect();
    assert_eq!(of(&both), (6, 4, 0.5), "two parts of four workers each");
    let unknown: Vec<_> = (0..2).map(|rank| format!("shard=\"{rank}\"")).collect();
    assert_eq!(of(&unknown), (6, 4, 0.5), "an unknown label tells parts apart");
}

#[test]
fn a_page_identifies_its_process() {
    let signs = vllm(IDLE).unwrap().process;
    assert_eq!(signs.started_ms, Some(1_795_343_778_900));
    let work = |page: &str| vllm(page).unwrap().process.work.unwrap();
    assert!(work(LORA) > work(IDLE));
    assert_eq!(vllm(DP2).unwrap().process.started_ms, None, "several processes behind one page give no start time");
    assert_eq!(page("process_start_time_seconds NaN").unwrap().process, Process::default());
    assert_eq!(page("vllm:prompt_tokens_total NaN").unwrap().process, Process::default());
}

#[test]
fn a_page_of_something_else_is_foreign_and_names_what_is_missing() {
    let error = vllm("<html>\n<body>hello</body>\n</html>\n").unwrap_err();
    assert_eq!(error.kind(), "foreign");
    assert!(error.to_string().contains("vllm:num_requests_waiting"), "{error}");
    assert!(error.to_string().contains("llm-d.ai/engine-type"), "{error}");
}

#[test]
fn a_page_cut_anywhere_is_an_error_or_gives_no_other_values() {
    let whole = vllm(LORA).unwrap();
    for cut in 0..LORA.len() {
        if let Ok(report) = vllm(&LORA[..cut]) {
            assert!(report.waiting().is_none_or(|waiting| waiting == whole.waiting), "cut at {cut}: {report:?}");
            assert!(report.running().is_none_or(|running| running == whole.running), "cut at {cut}: {report:?}");
            assert!(report.kv_usage().is_none_or(|usage| usage == whole.kv_usage), "cut at {cut}: {report:?}");
        }
    }
}

#[test]
fn other_engines_use_their_own_names() {
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
