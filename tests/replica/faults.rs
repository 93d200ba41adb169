//! Engines fail in every known way, and a real replica still decides.
//!
//! For each fault of a metrics page: it is counted under its kind, none of its values is believed (and none is taken as
//! zero), requests are answered meanwhile, and the next good page is believed again.

use std::time::Duration;

use murmuration::fleet::{LoadReport, Trust};
use murmuration_actors::admin::client;
use murmuration_kit::engine::{self, page};
use murmuration_kit::ext_proc::expect::{
    COMPLETION, destination, hinted, post, response_body, response_headers, streaming,
};
use murmuration_kit::{Config, Engine, MetricsBehavior, Replica};

async fn watching(engines: &[&Engine]) -> Replica {
    Replica::watching(Config::default(), engines.iter().copied()).await
}

/// Where a new request is sent.
async fn chosen(replica: &Replica) -> String {
    let (head, _) = replica.ask(post(&[]), COMPLETION).await;
    destination(&head)
}

fn failures(kind: &str) -> String {
    format!("murmuration_scrape_failures_total{{kind=\"{kind}\"}}")
}

/// Failures that the engine caused. Timeouts are left out, because on a busy machine any scrape may be late.
fn real_failures(replica: &Replica) -> u64 {
    replica.metric("murmuration_scrape_failures_total") - replica.metric(&failures("timeout"))
}

/// Takes an engine from a good page into `fault` and back, and asserts what the replica counts and believes.
async fn is_counted_and_survived(fault: MetricsBehavior, kind: &str) {
    let engine = Engine::showing(3, 2).await;
    let replica = watching(&[&engine]).await;
    replica.until_waiting(engine.address, 3).await;
    assert_eq!(real_failures(&replica), 0);

    engine.behave(fault);
    replica.until_metric(&failures(kind), 2).await;
    let believed = replica.until_endpoint(engine.address, |e| e.trust != Trust::Exact).await;
    let report = believed.report.expect("the last good report stays");
    assert_eq!((report.waiting, report.running), (3, 2), "no value of a bad page is believed");
    assert!(believed.reachable, "a listener that answers badly is reachable");
    assert_eq!(chosen(&replica).await, engine.name());
    let known = if kind == "timeout" { 0 } else { replica.metric(&failures(kind)) };
    assert_eq!(real_failures(&replica), known, "it is counted under its own kind only");

    engine.show(1, 4);
    let believed = replica.until_endpoint(engine.address, |e| e.trust == Trust::Exact).await;
    let report = believed.report.expect("a report");
    assert_eq!((report.waiting, report.running), (1, 4));
}

#[tokio::test]
async fn every_fault_of_a_page_is_counted_under_its_kind_and_survived() {
    let half = page(9, 9);
    let half = half[..half.len() / 2].trim_end().to_owned();
    let cases = [
        ("cut short", MetricsBehavior::Torn(page(9, 9)), "broken"),
        ("ends in mid line", MetricsBehavior::Whole(half), "torn"),
        ("something else", MetricsBehavior::Whole("<html>\n<body>It works!</body>\n</html>\n".to_owned()), "foreign"),
        ("empty", MetricsBehavior::Whole(String::new()), "torn"),
        ("without end", MetricsBehavior::Endless, "too-large"),
        ("trickles without end", MetricsBehavior::Trickle, "timeout"),
        ("never begins", MetricsBehavior::NoResponse, "timeout"),
        ("status 500", MetricsBehavior::Status(500), "status"),
    ];
    for (name, fault, kind) in cases {
        println!("a page: {name}");
        is_counted_and_survived(fault, kind).await;
    }
}

/// A page that lacks one gauge counts for the others.
async fn counts_without_one_gauge(page_without: String, gauge: &str, values: fn(&LoadReport) -> [Option<f64>; 3]) {
    let engine = Engine::showing(3, 2).await;
    let replica = watching(&[&engine]).await;
    replica.until_waiting(engine.address, 3).await;
    engine.behave(MetricsBehavior::Whole(page_without));
    let believed = replica.until_waiting(engine.address, 9).await;
    let report = believed.report.expect("a report");
    let missing: Vec<&str> = report.missing.names().collect();
    assert_eq!(missing, [gauge], "and nothing else");
    assert_eq!(values(&report).iter().filter(|value| value.is_none()).count(), 1, "unknown instead of a number");
    assert_eq!(replica.metric(&format!("murmuration_gauges_missing_total{{gauge=\"{gauge}\"}}")), 1, "counted once");
    assert_eq!(real_failures(&replica), 0, "the page itself is good");
    engine.show(1, 4);
    replica.until_endpoint(engine.address, |e| e.report.as_ref().is_some_and(|r| r.missing.is_none())).await;
}

fn gauges(report: &LoadReport) -> [Option<f64>; 3] {
    [report.waiting().map(f64::from), report.running().map(f64::from), report.kv_usage()]
}

#[tokio::test]
async fn a_page_that_lacks_a_gauge_counts_for_the_others() {
    let page = page(9, 9);
    let lines = page.lines().filter(|line| !line.starts_with("vllm:kv_cache_usage_perc"));
    counts_without_one_gauge(lines.map(|line| format!("{line}\n")).collect(), "kv_usage", gauges).await;
}

#[tokio::test]
async fn a_page_with_an_impossible_number_counts_for_the_others() {
    let running = "vllm:num_requests_running{engine=\"0\",model_name=\"tiny\"} ";
    let page = page(9, 9).replace(&format!("{running}9.0"), &format!("{running}NaN"));
    assert!(page.contains("NaN"));
    counts_without_one_gauge(page, "running", gauges).await;
}

/// An engine that answered a long prompt, and a replica that believes that it holds the prompt.
async fn warm() -> (Engine, Replica) {
    let engine = Engine::showing(1, 1).await;
    let replica = watching(&[&engine]).await;
    replica.until_exact([&engine]).await;
    let body = format!("{{\"model\":\"base\",\"prompt\":\"{}\",\"stream\":true}}", "a long story ".repeat(400));
    let mut stream = replica.open_stream();
    let (head, _) = stream.ask(post(&[]), body.as_bytes()).await;
    assert_eq!(destination(&head), engine.name());
    stream.send(streaming()).await;
    stream.send(response_body(b"data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: [DONE]\n\n", true)).await;
    stream.end().await;
    assert!(replica.endpoint(engine.address).await.index_blocks > 0);
    (engine, replica)
}

#[tokio::test]
async fn an_engine_that_restarted_in_place_is_believed_to_hold_nothing() {
    let (engine, replica) = warm().await;
    engine.behave(MetricsBehavior::Whole(engine::restarted()));
    replica.until_endpoint(engine.address, |e| e.index_blocks == 0).await;
    assert_eq!(replica.metric("murmuration_caches_cleared_total{noticed=\"restarted\"}"), 1);
}

#[tokio::test]
async fn an_engine_that_slept_is_believed_to_hold_nothing() {
    let (engine, replica) = warm().await;
    engine.behave(MetricsBehavior::Whole(engine::asleep()));
    replica.until_endpoint(engine.address, |e| e.index_blocks == 0).await;
    engine.show(1, 1);
    replica.until_endpoint(engine.address, |e| e.report.as_ref().is_some_and(|r| r.awake)).await;
    assert_eq!(replica.endpoint(engine.address).await.index_blocks, 0);
}

#[tokio::test]
async fn an_engine_that_died_and_is_back_is_believed_to_hold_nothing() {
    let (engine, replica) = warm().await;
    let address = engine.kill().await;
    replica.until_endpoint(address, |e| !e.reachable).await;
    let _back = Engine::start_at(address, MetricsBehavior::Whole(page(1, 1))).await;
    let believed = replica.until_endpoint(address, |e| e.reachable).await;
    assert_eq!(believed.index_blocks, 0);
}

#[tokio::test]
async fn a_seldom_scraped_engine_is_scraped_at_once_and_trusted_until_the_next_scrape() {
    let engine = Engine::showing(5, 1).await;
    let name = engine.name();
    let config = Config { interval: Duration::from_secs(15), ..Config::default() };
    let replica = Replica::start(config, &[&name]).await;
    let believed = replica.until_endpoint(engine.address, |e| e.report.is_some()).await;
    assert_eq!((believed.trust, engine.pages()), (Trust::Exact, 1));
}

/// Sends this many different requests. Those that go to `bad` are answered with `status`. Returns how many went there.
async fn requests_to(replica: &Replica, requests: usize, bad: &Engine, status: &str) -> usize {
    let mut went = 0;
    for n in 0..requests {
        let mut stream = replica.open_stream();
        let id = format!("q{n}");
        let (head, _) = stream.ask(post(&[("x-request-id", &id)]), COMPLETION).await;
        let is_bad = destination(&head) == bad.name();
        went += usize::from(is_bad);
        stream.send(response_headers(&[(":status", if is_bad { status } else { "200" })], true)).await;
        stream.end().await;
    }
    went
}

#[tokio::test]
async fn an_engine_that_fails_fast_with_an_idle_page_is_passed_over() {
    let (bad, good) = (Engine::showing(0, 0).await, Engine::showing(3, 3).await);
    let replica = watching(&[&bad, &good]).await;
    replica.until_exact([&bad, &good]).await;
    // The engine that is chosen first would get all requests if failures did not count.
    let (first, second) = if chosen(&replica).await == bad.name() { (&bad, &good) } else { (&good, &bad) };
    assert_eq!(requests_to(&replica, 20, first, "404").await, 20, "errors of the client do not count");
    let went = requests_to(&replica, 80, first, "503").await;
    assert!((2..=20).contains(&went), "{went} of 80");
    let failing = replica.endpoint(first.address).await.failing.expect("it is known to fail");
    assert!(failing.failures > 0 && replica.endpoint(second.address).await.failing.is_none());
}

#[tokio::test]
async fn all_faults_at_once_and_one_good_engine_leave_a_pool_that_serves() {
    let faults = [
        MetricsBehavior::Torn(page(9, 9)),
        MetricsBehavior::Whole("<html>\n".to_owned()),
        MetricsBehavior::Endless,
        MetricsBehavior::Trickle,
        MetricsBehavior::Status(500),
        MetricsBehavior::NoResponse,
    ];
    let mut engines = Vec::new();
    for fault in faults {
        engines.push(Engine::start(fault).await);
    }
    let good = Engine::showing(2, 2).await;
    let replica = watching(&engines.iter().chain([&good]).collect::<Vec<_>>()).await;
    replica.until_exact([&good]).await;
    for kind in ["broken", "foreign", "too-large", "timeout", "status"] {
        replica.until_metric(&failures(kind), 1).await;
    }
    for engine in &engines {
        let believed = replica.endpoint(engine.address).await;
        assert_eq!((believed.report, believed.trust), (None, Trust::Fallback), "nothing is known or assumed");
        let (head, _) = replica.ask(hinted(post(&[]), &[&engine.name()]), COMPLETION).await;
        assert_eq!(destination(&head), engine.name(), "an engine whose page is bad may still serve");
    }
    let believed = replica.until_endpoint(good.address, |e| e.trust == Trust::Exact).await;
    assert_eq!(believed.report.map(|report| report.waiting), Some(2), "faults of the others do not affect it");
}

#[tokio::test]
async fn connections_that_an_engine_closes_while_idle_are_no_failures() {
    let engine = Engine::showing(1, 1).await;
    engine.close_idle_after(Duration::from_millis(5));
    let replica = watching(&[&engine]).await;
    replica.until_metric("murmuration_scrapes_total", 10).await;
    assert!(engine.connections() >= 10, "each page had a connection of its own: {}", engine.connections());
    assert_eq!(real_failures(&replica), 0);
    assert_eq!(replica.endpoint(engine.address).await.report.map(|report| report.waiting), Some(1));
}

#[tokio::test]
async fn a_connection_that_is_closed_at_the_moment_of_its_use_is_replaced() {
    let engine = Engine::start(MetricsBehavior::Once(page(1, 1))).await;
    let replica = watching(&[&engine]).await;
    replica.until_metric("murmuration_scrapes_total", 10).await;
    assert!(engine.pages() > engine.connections(), "old connections were tried, and new ones made");
    assert_eq!(real_failures(&replica), 0);
}

#[tokio::test]
async fn one_connection_serves_many_pages() {
    let engine = Engine::showing(1, 1).await;
    let replica = watching(&[&engine]).await;
    replica.until_metric("murmuration_scrapes_total", 10).await;
    let late = replica.metric(&failures("timeout"));
    assert!(engine.connections() <= 1 + late, "{} connections, {late} late pages", engine.connections());
}

#[tokio::test]
async fn an_engine_that_sleeps_is_passed_over_though_its_health_is_200() {
    let (sleeper, other) = (Engine::showing(0, 0).await, Engine::showing(5, 5).await);
    let replica = watching(&[&sleeper, &other]).await;
    let is_awake = |awake: bool| {
        move |e: &murmuration::scheduler::EndpointSummary| e.report.as_ref().is_some_and(|r| r.awake == awake)
    };
    replica.until_endpoint(sleeper.address, is_awake(true)).await;
    assert_eq!(chosen(&replica).await, sleeper.name());

    sleeper.behave(MetricsBehavior::Whole(engine::asleep()));
    replica.until_endpoint(sleeper.address, is_awake(false)).await;
    let (status, _) = client::fetch(sleeper.address, "/health").await.unwrap();
    assert_eq!((status.as_u16(), sleeper.health()), (200, 1), "only this test asks for health");
    assert_eq!(chosen(&replica).await, other.name());

    other.behave(MetricsBehavior::Whole(engine::asleep()));
    replica.until_endpoint(other.address, is_awake(false)).await;
    let (status, reason, body) = replica.refused(post(&[]), COMPLETION).await;
    assert_eq!((status, reason.as_str()), (503, "rejected-no-endpoints"));
    assert!(body.contains("2 asleep"), "the client gets the reason: {body}");

    sleeper.show(0, 0);
    replica.until_endpoint(sleeper.address, is_awake(true)).await;
    assert_eq!(chosen(&replica).await, sleeper.name());
}

#[tokio::test]
async fn a_killed_engine_is_passed_over_while_another_lives_and_comes_back() {
    let (first, second) = (Engine::showing(1, 1).await, Engine::showing(1, 1).await);
    let replica = watching(&[&first, &second]).await;
    let (names, second_address) = ([first.name(), second.name()], second.address);
    replica.until_exact([&first]).await;
    assert_eq!(chosen(&replica).await, names[0]);

    let address = first.kill().await;
    replica.until_endpoint(address, |e| !e.reachable).await;
    assert!(replica.metric(&failures("connect")) >= 2);
    for _ in 0..20 {
        assert_eq!(chosen(&replica).await, names[1]);
    }

    second.kill().await;
    replica.until_endpoint(second_address, |e| !e.reachable).await;
    assert_eq!(chosen(&replica).await, names[0], "with no engine known to be alive, all are tried");

    let back = Engine::start_at(address, MetricsBehavior::Whole(page(2, 0))).await;
    let believed = replica.until_endpoint(address, |e| e.reachable && e.trust == Trust::Exact).await;
    assert_eq!(believed.report.map(|report| report.waiting), Some(2));
    let (head, _) = replica.ask(post(&[]), COMPLETION).await;
    assert_eq!(destination(&head), back.name());
}
