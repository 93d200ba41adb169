//! The table of one replica: what a decision, a body, a page or an attack costs, a row or two for each bench.

use serde_json::Value;

use super::super::Failure;
use super::document::Row;
use super::json::{met, number, row, thousands};
use super::runs;

/// The table's name on the page.
pub(super) const TABLE: &str = "replica";

/// The command of `zones`.
const ZONES: &str = "replication --replicas 9 --lanes streams --zones 3 --rate 1000";

/// How rows are measured: at full length, or at a short one.
type Measure = fn(bool) -> Result<Vec<Row>, Failure>;

/// The benches of this table.
pub(super) const UNITS: [(&str, Measure); 13] = [
    ("decision", |short| run("decision", &["--decisions", "500"], short, decision)),
    ("actor", |short| run("actor", &["--seconds", "0.5"], short, actor)),
    ("ext-proc", |short| run("ext-proc", &["--seconds", "0.5"], short, ext_proc)),
    ("envoy", |short| run("envoy", &["--samples", "100", "--seconds", "1", "--bodies", "1"], short, envoy)),
    ("scrape", |short| run("scrape", &["--seconds", "2"], short, scrape)),
    ("hostile", |short| run("hostile", &["--seconds", "5"], short, hostile)),
    ("pools", |short| run("pools", &["--pools", "5", "--seconds", "1", "--rounds", "1"], short, pools)),
    ("scheduler-death", |short| run("scheduler-death", &["--kills", "2"], short, scheduler_death)),
    ("churn", |short| run("churn", &["--names", "100000"], short, churn)),
    ("subset", |short| run("subset", &["--decisions", "200"], short, subset)),
    ("sidecar", |short| run("sidecar", &["--samples", "100", "--streams", "50"], short, sidecar)),
    ("detached", |short| run("detached", &["--seconds", "4"], short, detached)),
    ("zones", |short| {
        let few = ["--endpoints", "40", "--seconds", "3", "--probes", "20", "--deaths", "1"];
        let arguments: Vec<&str> = ZONES.split(' ').chain(few.into_iter().filter(|_| short)).collect();
        zones(&runs::bench(&arguments)?)
    }),
];

fn run(
    bench: &str,
    shorter: &[&str],
    short: bool,
    rows: fn(&Value) -> Result<Vec<Row>, Failure>,
) -> Result<Vec<Row>, Failure> {
    let arguments: Vec<&str> = std::iter::once(bench).chain(shorter.iter().copied().filter(|_| short)).collect();
    rows(&runs::bench(&arguments)?)
}

/// A row: what, the command, the bar, what was measured, and whether the bar is met.
fn line(what: &str, bench: &str, bar: &str, measured: String, is_met: bool) -> Row {
    vec![what.to_owned(), format!("`bench -- {bench}`"), bar.to_owned(), measured, met(is_met)]
}

pub(super) fn zones(report: &Value) -> Result<Vec<Row>, Failure> {
    let case = row(report, &[("lanes", "streams".into())])?;
    let (far, clean) = (number(case, "other_zones_mbit")?, number(case, "clean_s")?);
    let what = "nine replicas in three zones, 200 engines, 1,000 requests a second: what each sends to other zones; until \
                no other counts a dead one's work, worst";
    let measured = format!("{far:.2} Mbit/s; {clean:.2} s");
    Ok(vec![line(what, ZONES, "1 Mbit/s; 2 s", measured, far <= 1.0 && clean <= 2.0)])
}

pub(super) fn decision(report: &Value) -> Result<Vec<Row>, Failure> {
    let of = |prompts: &str| {
        let case = row(report, &[("prompts", prompts.into()), ("endpoints", 200.into()), ("blocks", 1500.into())])?;
        let (p50, p99) = (number(case, "decide_p50_us")?, number(case, "decide_p99_us")?);
        let (reserve_p50, reserve_p99) = (number(case, "with_reserve_p50_us")?, number(case, "with_reserve_p99_us")?);
        let measured = format!("{p50:.0} / {p99:.0} us; {reserve_p50:.0} / {reserve_p99:.0} us with its reservation");
        Ok::<_, Failure>((p50, p99, measured))
    };
    let (p50, p99, measured) = of("turns")?;
    let what = "a decision, 200 endpoints, prompt of 1,500 blocks";
    let one = line(what, "decision", "50 / 200 us p50 / p99", measured, p50 <= 50.0 && p99 <= 200.0);
    let (p50, _, measured) = of("pairs")?;
    let what = "the same for a pair, 100 endpoints that prefill and 100 that decode in two zones";
    Ok(vec![one, line(what, "decision", "150 us p50", measured, p50 <= 150.0)])
}

pub(super) fn actor(report: &Value) -> Result<Vec<Row>, Failure> {
    let of = |endpoints: u64, threads: u64, column: &str| {
        number(row(report, &[("endpoints", endpoints.into()), ("threads", threads.into())])?, column)
    };
    let a_second = |endpoints, threads| Ok::<_, Failure>(thousands(of(endpoints, threads, "decisions_s")?));
    let wait = of(1000, 1, "message_p99_us")?.max(of(1000, 2, "message_p99_us")?) / 1e3;
    let measured = format!(
        "{} and {}; {} and {}; {wait:.0} ms",
        a_second(200, 1)?,
        a_second(200, 2)?,
        a_second(1000, 1)?,
        a_second(1000, 2)?
    );
    let what = "64 clients without a pause: decisions a second over 200 endpoints with one and two threads; over 1,000; \
                how long other messages wait then, p99";
    Ok(vec![line(what, "actor", "200 ms", measured, wait <= 200.0)])
}

pub(super) fn ext_proc(report: &Value) -> Result<Vec<Row>, Failure> {
    let case = |chunks: u64, server: &str| {
        let case = row(report, &[("body_kb", 450.into()), ("chunks", chunks.into()), ("server", server.into())])?;
        Ok::<_, Failure>((number(case, "core_ms_per_request")?, number(case, "ratio")?))
    };
    let ((stay, stay_ratio), (leave, leave_ratio)) = (case(0, "stay")?, case(0, "leave")?);
    let short = format!("{stay:.2} core-ms, {stay_ratio:.2}x (`stay`); {leave:.2}, {leave_ratio:.2}x (`leave`)");
    let short_met = stay.max(leave) <= 2.5 && stay_ratio.max(leave_ratio) <= 1.5;
    let ((_, ratio), (ms, _)) = (case(1000, "stay")?, case(1000, "leave")?);
    Ok(vec![
        line(
            "450 KB body (100k tokens), short answer, picker's CPU",
            "ext-proc",
            "2.5 core-ms, 1.5x a no-op server",
            short,
            short_met,
        ),
        line(
            "the same with an answer of 1,000 streamed chunks",
            "ext-proc",
            "`stay` 1.5x no-op; `leave` 3 core-ms",
            format!("{ratio:.2}x; {ms:.2} core-ms"),
            ratio <= 1.5 && ms <= 3.0,
        ),
    ])
}

pub(super) fn envoy(report: &Value) -> Result<Vec<Row>, Failure> {
    let p50 = |picker: &str, path: &str| {
        let values = [("body_kb", 1.into()), ("picker", picker.into()), ("response_path", path.into())];
        number(row(report, &values)?, "p50_ms")
    };
    let added = |picker: &str, path: &str| Ok::<_, Failure>(p50(picker, path)? - p50("noop", path)?);
    let (stay, leave) = (added("ours", "stay")?, added("ours", "leave")?);
    let (stay_tls, leave_tls) = (added("ours-tls", "stay")?, added("ours-tls", "leave")?);
    let measured =
        format!("{stay:.2} ms (`stay`), {leave:.2} ms (`leave`), plain; {stay_tls:.2} and {leave_tls:.2} ms with TLS");
    let met = [stay, leave, stay_tls, leave_tls].into_iter().all(|added| added <= 0.3);
    let what = "1 KB through Envoy, added latency over a no-op server";
    Ok(vec![line(what, "envoy", "0.3 ms p50", measured, met)])
}

pub(super) fn scrape(report: &Value) -> Result<Vec<Row>, Failure> {
    let case = row(report, &[])?;
    let (ms, pages) = (number(case, "core_ms_per_page")?, number(case, "pages_per_s")?);
    let what = format!("a metrics page of {:.0} KB", (number(case, "page_bytes")? / 1e3).floor());
    let measured = format!("{ms:.4} core-ms at {} pages a second", thousands(pages));
    Ok(vec![line(&what, "scrape", "0.05 core-ms", measured, ms <= 0.05)])
}

pub(super) fn hostile(report: &Value) -> Result<Vec<Row>, Failure> {
    let (quiet, hostile) =
        (row(report, &[("clients", "quiet".into())])?, row(report, &[("clients", "hostile".into())])?);
    let (memory, p99) = (number(hostile, "rss_peak_mib")?, number(hostile, "decision_p99_ms")?);
    let without = number(quiet, "decision_p99_ms")?;
    let what = "hostile clients of four kinds at once (names of 20 MiB, 300 labels a second, 60 MiB of tiny values, \
                2,000 slow bodies): memory; p99 of the decisions of all others";
    let measured = format!("{memory:.0} MiB; {p99:.0} ms ({without:.1} ms without them)");
    Ok(vec![line(what, "hostile", "512 MiB; 50 ms", measured, memory <= 512.0 && p99 <= 50.0)])
}

pub(super) fn pools(report: &Value) -> Result<Vec<Row>, Failure> {
    let rows = report["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
    let [alone, many] = rows else { return Err("the JSON has no row for one pool and for many".to_owned()) };
    let (pools, endpoints) = (number(many, "pools")?, number(&report["about"], "endpoints")?);
    let memory = number(many, "rss_peak_mib")?;
    let ratio = |figure| Ok::<_, Failure>(number(many, figure)? / number(alone, figure)?.max(1e-9));
    let (p50, p99) = (ratio("decision_p50_ms")?, ratio("decision_p99_ms")?);
    let what = format!(
        "{pools:.0} pools of {endpoints:.0} endpoints in one process: memory; p99 of a decision beside one pool"
    );
    let measured = format!("{memory:.0} MiB; {p99:.2}x (p50: {p50:.2}x)");
    Ok(vec![line(&what, "pools", "300 MiB; 1.1x", measured, memory <= 300.0 && p99 <= 1.1)])
}

pub(super) fn scheduler_death(report: &Value) -> Result<Vec<Row>, Failure> {
    let case = row(report, &[])?;
    let of = |column| number(case, column);
    let (failed, requests, known) = (of("failed")?, of("requests")?, of("known_again_max_ms")? / 1e3);
    let what =
        "scheduler killed six times under 200 requests a second through Envoy: failed; all endpoints known again";
    let measured = format!("{failed:.0} of {}; {known:.2} s", thousands(requests));
    Ok(vec![line(what, "scheduler-death", "0; 1 s", measured, failed == 0.0 && known <= 1.0)])
}

pub(super) fn churn(report: &Value) -> Result<Vec<Row>, Failure> {
    let of = |figure| number(&report["about"], figure);
    let memory = of("memory_last_to_first")?;
    let (ages, counted) = (of("load_age_p99_last_to_first")?, of("in_flight_counted_pct")?);
    let what = "a million endpoint names in virtual time, 300 alive: memory and load ages p99, last tenth / first; \
                peers' work counted";
    let measured = format!("{memory:.3}; {ages:.1}; {counted:.0} %");
    let met = memory <= 1.1 && ages <= 1.1 && counted >= 100.0;
    Ok(vec![line(what, "churn", "1.1; 1.1; 100 %", measured, met)])
}

pub(super) fn subset(report: &Value) -> Result<Vec<Row>, Failure> {
    let case = row(report, &[("endpoints", 1000.into()), ("addresses", 1000.into())])?;
    let us = number(case, "added_p50_us")?;
    let what = "a subset hint of 1,000 addresses over 1,000 endpoints, added to a decision";
    Ok(vec![line(what, "subset", "60 us", format!("{us:.1} us"), us <= 60.0)])
}

pub(super) fn sidecar(report: &Value) -> Result<Vec<Row>, Failure> {
    let case = row(report, &[("way", "sidecar".into())])?;
    let (added, memory) = (number(case, "added_p50_ms")?, number(case, "streams_mb")?);
    let thousand = memory * 1e3 / number(case, "streams")?.max(1.0);
    let what =
        "a sidecar that passes 1 KB to its decode engine, added to the first token; memory of 1,000 open answers";
    let measured = format!("{added:.2} ms; {thousand:.0} MB");
    Ok(vec![line(what, "sidecar", "0.3 ms p50; 50 MB", measured, added <= 0.3 && thousand <= 50.0)])
}

pub(super) fn detached(report: &Value) -> Result<Vec<Row>, Failure> {
    let percent = number(row(report, &[])?, "all_percent")?;
    let what = "`leave`, 10,000 open tickets, 200 endpoints at 20 Hz: scheduler";
    Ok(vec![line(what, "detached", "5 % of a core", format!("{percent:.2} %"), percent <= 5.0)])
}
