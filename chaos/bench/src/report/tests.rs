//! The report on canned JSON, and BENCHMARKS.md itself.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

/// BENCHMARKS.md.
const PAGE: &str = include_str!("../../../../BENCHMARKS.md");

fn measured() -> Provenance {
    Provenance { commit: "abc1234".to_owned(), run: "2026-12-01: 4 cores".to_owned() }
}

/// The replication table's JSON: one replica, and three by streams, whose sharing costs `sharing` percent.
fn replication_json(sharing: f64) -> Value {
    let alone = json!({"replicas": 1, "lanes": "none", "scrapes_per_engine": 20.0});
    let three = json!({"replicas": 3, "lanes": "streams", "in_flight_p99_ms": 12.0, "placement_p99_ms": 13.0,
        "load_p99_ms": 11.0, "stream_mbit": 1.0, "gossip_mbit": 0.5, "sharing_cpu_pct": sharing,
        "scrapes_per_engine": 20.1, "clean_s": 1.0, "successor_s": 1.1, "ready_s": 0.2});
    json!({"bench": "replication", "rows": [alone, three]})
}

#[test]
fn the_page_is_in_the_form_that_the_report_writes() {
    let document = Document::read(PAGE).unwrap();
    assert_eq!(document.written(TEMPLATE).unwrap(), PAGE, "texts of BENCHMARKS.md stand in report/template.md");
    let tables: Vec<&str> = units().iter().map(|unit| unit.table).collect();
    assert!(["quality", "price", "replication", "replica", "storms"].iter().all(|table| tables.contains(table)));
}

#[test]
fn one_table_is_renewed_and_the_others_stay() {
    let mut document = Document::read(PAGE).unwrap();
    document.renew("replication", replication::rows_of(&replication_json(3.5)).unwrap(), &measured()).unwrap();
    let page = document.written(TEMPLATE).unwrap();
    let changed: Vec<&str> = page.lines().filter(|line| !PAGE.lines().any(|other| other == *line)).collect();
    assert_eq!(
        changed,
        [
            "- commit abc1234, 2026-12-01: 4 cores",
            "| 1 | | | | | | 20.0/s | | | abc1234 |",
            "| 3, streams and gossip | 12.0 ms | 13.0 ms | 11.0 ms | 1.00 + 0.50 Mbit/s | **3.5 %** | 20.1/s | \
             1.00 / 1.10 / 0.20 s | **no**: sharing | abc1234 |",
        ]
    );
    assert_eq!(Document::read(&page).unwrap(), document, "what was written reads back");
    // A commit without rows goes.
    let rows = |page: &str| page.matches("commit abc1234").count();
    document
        .renew(
            "replication",
            replication::rows_of(&replication_json(2.0)).unwrap(),
            &Provenance { commit: "def5678".to_owned(), ..measured() },
        )
        .unwrap();
    let page = document.written(TEMPLATE).unwrap();
    assert_eq!(rows(&page), 0);
    assert!(page.contains("| 2.0 % | 20.1/s | 1.00 / 1.10 / 0.20 s | yes | def5678 |"), "{page}");
}

#[test]
fn figures_of_one_traffic_and_load_are_one_row() {
    let figure = |what: &str, mean: f64, bar: Value, pass: Value| {
        let what = format!("chat, 16 engines, 50 % load: {what}");
        json!({"what": what, "mean": mean, "bar": bar, "pass": pass})
    };
    let report = json!([
        figure("mean TTFT / llm-d's default", 0.504, json!({"at_most": 0.7}), json!(true)),
        figure("goodput / the better of both", 0.98, json!({"at_least": 1.0}), json!(false)),
        figure("mean TTFT / without any queue", 1.2, Value::Null, Value::Null),
    ]);
    let rows = price::rows_of(&report).unwrap();
    let cells = ["chat, 16 engines, 50 % load", "0.50 (≤ 0.7)", "", "", "**0.98** (≥ 1)", "", "1.20", "", "**no**"];
    assert_eq!(rows, [cells]);
    let unknown = json!([figure("colour", 1.0, Value::Null, Value::Null)]);
    assert!(price::rows_of(&unknown).unwrap_err().contains("colour"));
}

#[test]
fn the_page_shows_the_bars_that_replication_is_judged_by() {
    for line in replication::bars() {
        assert!(TEMPLATE.contains(&line), "report/template.md has no row {line}");
    }
}

#[test]
fn every_bench_of_one_replica_fills_a_row_that_the_page_has() {
    for (rows, report, measured, met) in cases().into_iter().chain([sidecar(), zones(), pools()]) {
        let rows = rows(&report).unwrap();
        assert_eq!((rows[0][3].as_str(), rows[0][4].as_str()), (measured, met));
        for row in rows {
            let begins = format!("| {} | {} | {} | ", row[0], row[1], row[2]);
            assert!(PAGE.lines().any(|line| line.starts_with(&begins)), "the page has no row {begins}");
        }
    }
    let why = replica::subset(&json!({"rows": []})).unwrap_err();
    assert_eq!(why, "the JSON has no row with endpoints=1000 addresses=1000");
}

/// A bench's rows, its JSON, what its first row shows, and whether that meets its bar.
type Case = (fn(&Value) -> Result<Vec<Row>, Failure>, Value, &'static str, &'static str);

fn ext_proc(chunks: u64, server: &str, ms: f64, ratio: f64) -> Value {
    json!({"body_kb": 450, "chunks": chunks, "server": server, "core_ms_per_request": ms, "ratio": ratio})
}

fn envoy(picker: &str, path: &str, p50: f64) -> Value {
    json!({"body_kb": 1, "chunks": 0, "picker": picker, "response_path": path, "p50_ms": p50})
}

fn decided(prompts: &str, us: f64) -> Value {
    json!({"prompts": prompts, "endpoints": 200, "blocks": 1500, "decide_p50_us": us, "decide_p99_us": 46.0,
        "with_reserve_p50_us": 13.0, "with_reserve_p99_us": 100.0})
}

fn busy(endpoints: u64, threads: u64, decisions_s: f64, us: f64) -> Value {
    json!({"endpoints": endpoints, "threads": threads, "decisions_s": decisions_s, "message_p99_us": us})
}

fn sidecar() -> Case {
    let ways = json!({"rows": [{"way": "direct", "added_p50_ms": null},
        {"way": "sidecar", "added_p50_ms": 0.123, "streams": 500, "streams_mb": 20.6}]});
    (replica::sidecar, ways, "0.12 ms; 41 MB", "yes")
}

fn zones() -> Case {
    let lanes = json!({"rows": [{"lanes": "none"}, {"lanes": "streams", "other_zones_mbit": 0.92, "clean_s": 1.4}]});
    (replica::zones, lanes, "0.92 Mbit/s; 1.40 s", "yes")
}

fn pools() -> Case {
    let of = |pools: u64, p99: f64, memory: f64| json!({"pools": pools, "decision_p50_ms": 0.4, "decision_p99_ms": p99, "rss_peak_mib": memory});
    let both = json!({"about": {"endpoints": 20}, "rows": [of(1, 2.0, 30.0), of(100, 2.1, 265.0)]});
    (replica::pools, both, "265 MiB; 1.05x (p50: 1.00x)", "yes")
}

fn cases() -> [Case; 10] {
    [
        (
            replica::decision,
            json!({"rows": [decided("turns", 7.1), decided("pairs", 30.0)]}),
            "7 / 46 us; 13 / 100 us with its reservation",
            "yes",
        ),
        (
            replica::actor,
            json!({"rows": [busy(200, 1, 39_993.4, 4_265.0), busy(200, 2, 34_760.0, 6_508.0),
            busy(1000, 1, 16_306.0, 29_965.0), busy(1000, 2, 13_091.0, 98_163.0)]}),
            "39,993 and 34,760; 16,306 and 13,091; 98 ms",
            "yes",
        ),
        (
            replica::ext_proc,
            json!({"rows": [ext_proc(0, "stay", 0.67, 1.56), ext_proc(0, "leave", 0.67, 1.45),
            ext_proc(1000, "stay", 30.0, 1.03), ext_proc(1000, "leave", 0.66, 0.02)]}),
            "0.67 core-ms, 1.56x (`stay`); 0.67, 1.45x (`leave`)",
            "**no**",
        ),
        (
            replica::envoy,
            json!({"rows": [envoy("noop", "stay", 1.0), envoy("ours", "stay", 1.14),
            envoy("ours-tls", "stay", 1.22), envoy("noop", "leave", 0.9), envoy("ours", "leave", 1.0),
            envoy("ours-tls", "leave", 1.05)]}),
            "0.14 ms (`stay`), 0.10 ms (`leave`), plain; 0.22 and 0.15 ms with TLS",
            "yes",
        ),
        (
            replica::scrape,
            json!({"rows": [{"page_bytes": 54_712, "core_ms_per_page": 0.0465, "pages_per_s": 2000.4}]}),
            "0.0465 core-ms at 2,000 pages a second",
            "yes",
        ),
        (
            replica::hostile,
            json!({"rows": [{"clients": "quiet", "decision_p99_ms": 1.2},
            {"clients": "hostile", "decision_p99_ms": 19.0, "rss_peak_mib": 478.0}]}),
            "478 MiB; 19 ms (1.2 ms without them)",
            "yes",
        ),
        (
            replica::scheduler_death,
            json!({"rows": [{"failed": 1, "requests": 2933, "known_again_max_ms": 330}]}),
            "1 of 2,933; 0.33 s",
            "**no**",
        ),
        (
            replica::churn,
            json!({"about": {"memory_last_to_first": 1.003, "load_age_p99_last_to_first": 1.0,
            "in_flight_counted_pct": 100.0}}),
            "1.003; 1.0; 100 %",
            "yes",
        ),
        (
            replica::subset,
            json!({"rows": [{"endpoints": 1000, "addresses": 1000, "added_p50_us": 8.5}]}),
            "8.5 us",
            "yes",
        ),
        (replica::detached, json!({"rows": [{"all_percent": 1.05}]}), "1.05 %", "yes"),
    ]
}

#[test]
fn a_figure_of_quality_shows_the_worse_end_of_its_seeds() {
    let figures = json!([
        {"what": "a", "bar": {"at_least": 0.98}, "values": [0.97, 1.0], "mean": 0.985, "pass": true},
        {"what": "b", "bar": {"at_most": 1.05}, "values": [1.0, 1.2], "mean": 1.1, "pass": false},
        {"what": "c", "bar": null, "values": [0.6, 0.4], "mean": 0.5, "pass": null},
    ]);
    let rows = quality::rows_of(&figures).unwrap();
    assert_eq!(rows[0], ["a", "≥ 0.98", "0.985", "**0.970**", "yes"]);
    assert_eq!(rows[1], ["b", "≤ 1.05", "1.100", "**1.200**", "**no**"]);
    assert_eq!(rows[2], ["c", "none", "0.500", "0.400", ""]);
}

#[test]
fn a_storm_says_which_of_its_bars_it_missed() {
    let stretch = |requests: u64| json!({"requests": requests});
    let report = json!({"figures": {"before": stretch(100), "during": stretch(200), "after": stretch(40), "failed": 1,
            "cached_ratio": 1.003, "clean_s": 0.9, "heal_s": 0.0, "equal_s": null},
        "bars": [{"what": "failed requests", "bar": "<= 0", "met": false},
            {"what": "until no replica counts a silent one's work", "bar": "<= 2 s", "met": true}]});
    let row = storms::row_of("kill-one", &report).unwrap();
    assert_eq!(
        row,
        ["`kill-one`", "340", "1 (<= 0)", "1.003", "0.90 s (<= 2 s)", "at once", "not", "**no**: failed requests"]
    );
}

#[test]
fn a_page_that_is_not_the_reports_is_refused_with_its_line() {
    let refused = |page: &str| Document::read(page).unwrap_err();
    assert!(refused("<!-- table a -->\n| x | commit |\n|---|---|\n| 1 |\n").starts_with("line 4: a row has as many"));
    assert!(refused("<!-- table a -->\nwords\n").starts_with("line 2: this is neither"));
    assert!(refused("<!-- table a -->\n").contains("does not end"));
    let mut document = Document::read("<!-- table a -->\n| x | commit |\n<!-- end of table -->\n").unwrap();
    assert!(document.renew("b", vec![], &measured()).unwrap_err().contains("no table b"));
    assert!(document.renew("a", vec![vec![]], &measured()).unwrap_err().contains("a row of 1 cells"));
    assert_eq!(runs::last_line("table\n\n{\"a\": 1}\n").unwrap(), json!({"a": 1}));
}
