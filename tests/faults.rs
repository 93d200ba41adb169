//! Engines that fail in every way known of them, and a real replica that goes on deciding.
//!
//! What holds for each fault of a metrics page: it is counted under its kind, nothing of it is believed (least of all as
//! zeros), requests are answered meanwhile, and the next good page counts again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use murmuration::fleet::{LoadReport, Trust};
use murmuration_actors::admin::client;
use support::engine::{self, page};
use support::envoy::{
    COMPLETION, destination, hinted, post, refusal, request_body, response_body, response_headers, streaming,
};
use support::{Config, Engine, Manner, Replica};

/// A replica that looks at its engines as often as `murmuration serve` does by itself.
async fn watching(engines: &[&Engine]) -> Replica {
    let names: Vec<String> = engines.iter().map(|engine| engine.name()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Replica::start(Config { interval: Duration::from_millis(50), ..Config::default() }, &names).await
}

/// Where a new request is sent.
async fn chosen(replica: &Replica) -> String {
    let (head, _) = replica.talk().ask(post(&[]), COMPLETION).await;
    destination(&head)
}

fn failures(kind: &str) -> String {
    format!("murmuration_scrape_failures_total{{kind=\"{kind}\"}}")
}

/// Failures that are the engine's own. A machine that is busy elsewhere may let any scrape run late, so timeouts are left
/// out where no engine is slow.
fn real_failures(replica: &Replica) -> u64 {
    replica.metric("murmuration_scrape_failures_total") - replica.metric(&failures("timeout"))
}

/// An engine falls from a good page into `fault` and recovers.
async fn is_counted_and_survived(fault: Manner, kind: &str) {
    let engine = Engine::start(Manner::Whole(page(3, 2))).await;
    let replica = watching(&[&engine]).await;
    replica.until_endpoint(engine.address, |e| e.report.as_ref().is_some_and(|report| report.waiting == 3)).await;
    assert_eq!(real_failures(&replica), 0);

    engine.behave(fault);
    replica.until_metric(&failures(kind), 2).await;
    let believed = replica.until_endpoint(engine.address, |e| e.trust != Trust::Exact).await;
    let report = believed.report.expect("the last good report stays");
    assert_eq!((report.waiting, report.running), (3, 2), "nothing of a bad page is believed");
    assert!(believed.reachable, "a listener that answers badly is reachable");
    assert_eq!(chosen(&replica).await, engine.name());
    let known = if kind == "timeout" { 0 } else { replica.metric(&failures(kind)) };
    assert_eq!(real_failures(&replica), known, "it is counted as what it is, and as nothing else");

    engine.behave(Manner::Whole(page(1, 4)));
    let believed = replica.until_endpoint(engine.address, |e| e.trust == Trust::Exact).await;
    let report = believed.report.expect("a report");
    assert_eq!((report.waiting, report.running), (1, 4));
}

#[tokio::test]
async fn a_page_that_breaks_off_is_broken() {
    is_counted_and_survived(Manner::Torn(page(9, 9)), "broken").await;
}

#[tokio::test]
async fn a_page_that_ends_in_mid_line_is_torn() {
    let page = page(9, 9);
    is_counted_and_survived(Manner::Whole(page[..page.len() / 2].trim_end().to_owned()), "torn").await;
}

/// A page that tells less than all counts for what it tells.
async fn counts_for_what_it_tells(less: String, gauge: &str, told: fn(&LoadReport) -> [Option<f64>; 3]) {
    let engine = Engine::start(Manner::Whole(page(3, 2))).await;
    let replica = watching(&[&engine]).await;
    replica.until_endpoint(engine.address, |e| e.report.as_ref().is_some_and(|report| report.waiting == 3)).await;
    engine.behave(Manner::Whole(less));
    let believed = replica.until_endpoint(engine.address, |e| e.report.as_ref().is_some_and(|r| r.waiting == 9)).await;
    let report = believed.report.expect("a report");
    let missing: Vec<&str> = report.missing.names().collect();
    assert_eq!(missing, [gauge], "and nothing else");
    assert_eq!(told(&report).iter().filter(|value| value.is_none()).count(), 1, "unknown, and no number");
    assert_eq!(replica.metric(&format!("murmuration_gauges_missing_total{{gauge=\"{gauge}\"}}")), 1, "counted once");
    assert_eq!(real_failures(&replica), 0, "it is a page");
    engine.behave(Manner::Whole(page(1, 4)));
    replica.until_endpoint(engine.address, |e| e.report.as_ref().is_some_and(|r| r.missing.is_none())).await;
}

fn gauges(report: &LoadReport) -> [Option<f64>; 3] {
    [report.waiting().map(f64::from), report.running().map(f64::from), report.kv_usage()]
}

#[tokio::test]
async fn a_page_that_lacks_a_gauge_counts_for_the_others() {
    let page = page(9, 9);
    let lines = page.lines().filter(|line| !line.starts_with("vllm:kv_cache_usage_perc"));
    counts_for_what_it_tells(lines.map(|line| format!("{line}\n")).collect(), "kv_usage", gauges).await;
}

#[tokio::test]
async fn a_page_with_an_impossible_number_counts_for_the_others() {
    let running = "vllm:num_requests_running{engine=\"0\",model_name=\"tiny\"} ";
    let page = page(9, 9).replace(&format!("{running}9.0"), &format!("{running}NaN"));
    assert!(page.contains("NaN"));
    counts_for_what_it_tells(page, "running", gauges).await;
}

/// Sends a long prompt to the only engine, which answers it: from then on the replica believes that it holds the prompt.
async fn warmed(replica: &Replica, engine: &Engine) {
    let body = format!("{{\"model\":\"base\",\"prompt\":\"{}\",\"stream\":true}}", "a long story ".repeat(400));
    let mut talk = replica.talk();
    let (head, _) = talk.ask(post(&[]), body.as_bytes()).await;
    assert_eq!(destination(&head), engine.name());
    talk.send(streaming()).await;
    talk.send(response_body(b"data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: [DONE]\n\n", true)).await;
    while talk.receive().await.is_some() {}
    assert!(replica.endpoint(engine.address).await.index_blocks > 0);
}

#[tokio::test]
async fn an_engine_that_restarted_in_place_is_believed_to_hold_nothing() {
    let engine = Engine::start(Manner::Whole(page(1, 1))).await;
    let replica = watching(&[&engine]).await;
    replica.until_endpoint(engine.address, |e| e.trust == Trust::Exact).await;
    warmed(&replica, &engine).await;
    engine.behave(Manner::Whole(engine::restarted()));
    replica.until_endpoint(engine.address, |e| e.index_blocks == 0).await;
    assert_eq!(replica.metric("murmuration_caches_cleared_total{noticed=\"restarted\"}"), 1);
}

#[tokio::test]
async fn an_engine_that_slept_is_believed_to_hold_nothing() {
    let engine = Engine::start(Manner::Whole(page(1, 1))).await;
    let replica = watching(&[&engine]).await;
    replica.until_endpoint(engine.address, |e| e.trust == Trust::Exact).await;
    warmed(&replica, &engine).await;
    engine.behave(Manner::Whole(engine::asleep()));
    replica.until_endpoint(engine.address, |e| e.index_blocks == 0).await;
    engine.behave(Manner::Whole(page(1, 1)));
    replica.until_endpoint(engine.address, |e| e.report.as_ref().is_some_and(|r| r.awake)).await;
    assert_eq!(replica.endpoint(engine.address).await.index_blocks, 0);
}

#[tokio::test]
async fn an_engine_that_died_and_is_back_is_believed_to_hold_nothing() {
    let engine = Engine::start(Manner::Whole(page(1, 1))).await;
    let replica = watching(&[&engine]).await;
    replica.until_endpoint(engine.address, |e| e.trust == Trust::Exact).await;
    warmed(&replica, &engine).await;
    let address = engine.kill().await;
    replica.until_endpoint(address, |e| !e.reachable).await;
    let _back = Engine::start_at(address, Manner::Whole(page(1, 1))).await;
    let believed = replica.until_endpoint(address, |e| e.reachable).await;
    assert_eq!(believed.index_blocks, 0);
}

#[tokio::test]
async fn an_engine_that_is_looked_at_seldom_is_looked_at_at_once_and_trusted_until_the_next_look() {
    let engine = Engine::start(Manner::Whole(page(5, 1))).await;
    let name = engine.name();
    let config = Config { interval: Duration::from_secs(15), ..Config::default() };
    let replica = Replica::start(config, &[&name]).await;
    let believed = replica.until_endpoint(engine.address, |e| e.report.is_some()).await;
    assert_eq!((believed.trust, engine.pages()), (Trust::Exact, 1));
}

/// Asks so many different questions; those that go to `bad` are answered with `status`. Gives how many went there.
async fn answered(replica: &Replica, questions: usize, bad: &Engine, status: &str) -> usize {
    let mut went = 0;
    for n in 0..questions {
        let mut talk = replica.talk();
        let id = format!("q{n}");
        let (head, _) = talk.ask(post(&[("x-request-id", &id)]), COMPLETION).await;
        let is_bad = destination(&head) == bad.name();
        went += usize::from(is_bad);
        talk.send(response_headers(&[(":status", if is_bad { status } else { "200" })], true)).await;
        while talk.receive().await.is_some() {}
    }
    went
}

#[tokio::test]
async fn an_engine_that_fails_fast_with_an_idle_page_is_passed_over() {
    let (bad, good) = (Engine::start(Manner::Whole(page(0, 0))).await, Engine::start(Manner::Whole(page(3, 3))).await);
    let replica = watching(&[&bad, &good]).await;
    for engine in [&bad, &good] {
        replica.until_endpoint(engine.address, |e| e.trust == Trust::Exact).await;
    }
    // Whoever is chosen first would get all of them, if failures did not count.
    let (first, second) = if chosen(&replica).await == bad.name() { (&bad, &good) } else { (&good, &bad) };
    assert_eq!(answered(&replica, 20, first, "404").await, 20, "never for what the client asked");
    let went = answered(&replica, 80, first, "503").await;
    assert!((2..=20).contains(&went), "{went} of 80");
    let failing = replica.endpoint(first.address).await.failing.expect("it is known to fail");
    assert!(failing.failures > 0 && replica.endpoint(second.address).await.failing.is_none());
}

#[tokio::test]
async fn a_page_of_something_else_is_foreign() {
    let html = "<html>\n<body>It works!</body>\n</html>\n".to_owned();
    is_counted_and_survived(Manner::Whole(html), "foreign").await;
}

#[tokio::test]
async fn an_empty_page_is_torn() {
    is_counted_and_survived(Manner::Whole(String::new()), "torn").await;
}

#[tokio::test]
async fn a_page_without_end_is_too_large() {
    is_counted_and_survived(Manner::Endless, "too-large").await;
}

#[tokio::test]
async fn a_page_that_trickles_for_ever_is_a_timeout() {
    is_counted_and_survived(Manner::Trickle, "timeout").await;
}

#[tokio::test]
async fn a_page_that_never_begins_is_a_timeout() {
    is_counted_and_survived(Manner::Mute, "timeout").await;
}

#[tokio::test]
async fn a_status_of_500_is_no_page() {
    is_counted_and_survived(Manner::Status(500), "status").await;
}

#[tokio::test]
async fn all_faults_at_once_and_one_good_engine_leave_a_pool_that_serves() {
    let faults = [
        Manner::Torn(page(9, 9)),
        Manner::Whole("<html>\n".to_owned()),
        Manner::Endless,
        Manner::Trickle,
        Manner::Status(500),
        Manner::Mute,
    ];
    let mut engines = Vec::new();
    for fault in faults {
        engines.push(Engine::start(fault).await);
    }
    let good = Engine::start(Manner::Whole(page(2, 2))).await;
    let replica = watching(&engines.iter().chain([&good]).collect::<Vec<_>>()).await;
    replica.until_endpoint(good.address, |e| e.trust == Trust::Exact).await;
    for kind in ["broken", "foreign", "too-large", "timeout", "status"] {
        replica.until_metric(&failures(kind), 1).await;
    }
    for engine in &engines {
        let believed = replica.endpoint(engine.address).await;
        assert_eq!((believed.report, believed.trust), (None, Trust::Fallback), "nothing is known, and nothing made up");
        let (head, _) = replica.talk().ask(hinted(post(&[]), &[&engine.name()]), COMPLETION).await;
        assert_eq!(destination(&head), engine.name(), "an engine whose page is bad may still serve");
    }
    let believed = replica.until_endpoint(good.address, |e| e.trust == Trust::Exact).await;
    assert_eq!(believed.report.map(|report| report.waiting), Some(2), "its neighbours' faults are theirs");
}

#[tokio::test]
async fn connections_that_an_engine_closes_while_idle_are_no_failures() {
    let engine = Engine::start(Manner::Whole(page(1, 1))).await;
    engine.close_idle_after(Duration::from_millis(5));
    let replica = watching(&[&engine]).await;
    replica.until_metric("murmuration_scrapes_total", 10).await;
    assert!(engine.connections() >= 10, "each page had a connection of its own: {}", engine.connections());
    assert_eq!(real_failures(&replica), 0);
    assert_eq!(replica.endpoint(engine.address).await.report.map(|report| report.waiting), Some(1));
}

#[tokio::test]
async fn a_connection_that_is_closed_in_the_moment_of_its_use_is_replaced() {
    let engine = Engine::start(Manner::Once(page(1, 1))).await;
    let replica = watching(&[&engine]).await;
    replica.until_metric("murmuration_scrapes_total", 10).await;
    assert!(engine.pages() > engine.connections(), "old connections were tried, and new ones made");
    assert_eq!(real_failures(&replica), 0);
}

#[tokio::test]
async fn one_connection_serves_many_pages() {
    let engine = Engine::start(Manner::Whole(page(1, 1))).await;
    let replica = watching(&[&engine]).await;
    replica.until_metric("murmuration_scrapes_total", 10).await;
    let late = replica.metric(&failures("timeout"));
    assert!(engine.connections() <= 1 + late, "{} connections, {late} late pages", engine.connections());
}

#[tokio::test]
async fn an_engine_that_sleeps_is_passed_over_though_its_health_is_200() {
    let (sleeper, other) =
        (Engine::start(Manner::Whole(page(0, 0))).await, Engine::start(Manner::Whole(page(5, 5))).await);
    let replica = watching(&[&sleeper, &other]).await;
    let is_awake = |awake: bool| {
        move |e: &murmuration::scheduler::EndpointSummary| e.report.as_ref().is_some_and(|r| r.awake == awake)
    };
    replica.until_endpoint(sleeper.address, is_awake(true)).await;
    assert_eq!(chosen(&replica).await, sleeper.name());

    sleeper.behave(Manner::Whole(engine::asleep()));
    replica.until_endpoint(sleeper.address, is_awake(false)).await;
    let (status, _) = client::fetch(sleeper.address, "/health").await.unwrap();
    assert_eq!((status.as_u16(), sleeper.health()), (200, 1), "nobody but this test asks for health");
    assert_eq!(chosen(&replica).await, other.name());

    other.behave(Manner::Whole(engine::asleep()));
    replica.until_endpoint(other.address, is_awake(false)).await;
    let mut talk = replica.talk();
    talk.send(post(&[])).await;
    talk.send(request_body(COMPLETION, true)).await;
    let (status, reason, body) = refusal(&talk.answer().await);
    assert_eq!((status, reason.as_str()), (503, "rejected-no-endpoints"));
    assert!(body.contains("2 asleep"), "the client is told why: {body}");

    sleeper.behave(Manner::Whole(page(0, 0)));
    replica.until_endpoint(sleeper.address, is_awake(true)).await;
    assert_eq!(chosen(&replica).await, sleeper.name());
}

#[tokio::test]
async fn a_killed_engine_is_passed_over_while_another_lives_and_comes_back() {
    let (first, second) =
        (Engine::start(Manner::Whole(page(1, 1))).await, Engine::start(Manner::Whole(page(1, 1))).await);
    let replica = watching(&[&first, &second]).await;
    let (names, second_address) = ([first.name(), second.name()], second.address);
    replica.until_endpoint(first.address, |e| e.trust == Trust::Exact).await;
    assert_eq!(chosen(&replica).await, names[0]);

    let address = first.kill().await;
    replica.until_endpoint(address, |e| !e.reachable).await;
    assert!(replica.metric(&failures("connect")) >= 2);
    for _ in 0..20 {
        assert_eq!(chosen(&replica).await, names[1]);
    }

    second.kill().await;
    replica.until_endpoint(second_address, |e| !e.reachable).await;
    assert_eq!(chosen(&replica).await, names[0], "where nobody is known to live, all are tried rather than none");

    let back = Engine::start_at(address, Manner::Whole(page(2, 0))).await;
    let believed = replica.until_endpoint(address, |e| e.reachable && e.trust == Trust::Exact).await;
    assert_eq!(believed.report.map(|report| report.waiting), Some(2));
    let (head, _) = replica.talk().ask(post(&[]), COMPLETION).await;
    assert_eq!(destination(&head), back.name());
}
