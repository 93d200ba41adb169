//! The metrics page against its golden file: names that operators depend on must not change by accident.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use murmuration::event::{Decided, RequestFinished, Split};
use murmuration::fleet::{CacheLoss, FailureCounts, InFlight, Missing};
use murmuration::id::{EndpointId, PluginName, Ticket};
use murmuration::id::{Incarnation, PoolId, ReplicaId};
use murmuration::prefix::PrefixMatch;
use murmuration::replication::{Member, PeerSummary, ReplicaCard};
use murmuration::request::{Outcome, RefusalCode, Usage};
use murmuration::scheduler::{Balance, FleetSummary};

use super::super::series;
use super::*;

fn decided() -> Decided {
    Decided {
        ticket: Ticket(1),
        request_id: "r".into(),
        model: "m".into(),
        target_model: "m".into(),
        rewritten_by: None,
        fairness_id: "default-flow".into(),
        priority: 0,
        endpoint: EndpointId::new("default", "e0"),
        port: 8000,
        matched: PrefixMatch { blocks: 1, of: 2 },
        block_tokens: 64,
        candidates: 2,
        split: Some(Split {
            handler: PluginName { name: "pd".into(), kind: "disagg-profile-handler" },
            decision: "prefill-decode",
            prefill: Some(EndpointId::new("default", "p0")),
        }),
    }
}

fn finished() -> RequestFinished {
    RequestFinished {
        request_id: "r".into(),
        model: "m".into(),
        target_model: "m".into(),
        fairness_id: "default-flow".into(),
        priority: 0,
        outcome: Outcome::Completed,
        status: Some(200),
        streaming: true,
        duration: Duration::from_secs(2),
        decided_after: Some(Duration::from_millis(1)),
        first_token_after: Some(Duration::from_secs(1)),
        request_bytes: 100,
        response_bytes: 200,
        usage: Some(Usage { prompt_tokens: 100, completion_tokens: 11, cached_tokens: Some(10) }),
        predicted_share: 0.9,
    }
}

/// A page on which every family has a series.
fn full_page() -> (Metrics, String) {
    let metrics = Metrics::register("pool").unwrap();
    let e0 = EndpointId::new("default", "e0");
    let refused = Event::Refused {
        request_id: "r".into(),
        model: "m".into(),
        code: RefusalCode::NoEndpoints,
        sentence: String::new(),
    };
    for event in [
        Event::Decided(Box::new(decided())),
        Event::Decided(Box::new(Decided { target_model: "other".into(), ..decided() })),
        refused,
        Event::RequestFinished(Box::new(finished())),
        Event::TicketClosed { ticket: Ticket(1), outcome: Outcome::Completed },
        Event::ServedElsewhere { ticket: Ticket(1), decided: e0.clone(), served: None },
        Event::LocalReply { status: Some(403) },
        Event::Scraped { endpoint: e0.clone(), took: Duration::from_millis(1), bytes: 54_000 },
        Event::ScrapeFailed { endpoint: e0.clone(), kind: "torn", why: String::new() },
        Event::CacheCleared { endpoint: e0.clone(), loss: CacheLoss::Restarted },
        Event::EndpointFailing { endpoint: e0.clone(), failing: true, counts: FailureCounts::default() },
        Event::GaugesMissing { endpoint: e0, missing: Missing { kv_usage: true, ..Missing::default() } },
        Event::ActorRestarted { actor: "endpoint default/e0".into(), why: String::new() },
        Event::PartGivenUp { part: "gossip".into(), attempts: 10, why: String::new() },
        Event::Panicked { place: String::new(), why: String::new() },
        Event::Prepared { producer: "token-producer", result: "ok" },
        Event::Reloaded(String::new()),
        Event::ConnectionClosed { port: "admin", why: "full" },
        Event::AuthorityRepaired { port: "ext-proc" },
        Event::ServerNameRefused { port: "ext-proc", name: "outbound|9002||picker".into() },
        Event::PeerFactsRefused { peer: ReplicaId("r1".into()), facts: 3 },
        Event::GossipLeftOut { facts: 2 },
        Event::PoolNotServed { peer: ReplicaId("r1".into()), pool: PoolId::default() },
    ] {
        metrics.record(&event);
    }
    let peer = PeerSummary {
        replica: ReplicaId("r1".into()),
        incarnation: Incarnation(1),
        quiet: Duration::ZERO,
        upto: 4,
        gaps: 0,
        facts: 4,
        in_flight: InFlight::default(),
        ..PeerSummary::default()
    };
    let summary = FleetSummary {
        endpoints: Vec::new(),
        tickets: Balance::default(),
        index_bytes: 0,
        sessions: 0,
        peers: vec![peer],
    };
    let card = ReplicaCard::new(([127, 0, 0, 1], 9002).into(), None, String::new());
    let member = Member {
        replica: ReplicaId("r1".into()),
        incarnation: Incarnation(1),
        card,
        head: 7,
        heads: Default::default(),
    };
    metrics.pool(&summary, &[member]);
    let page = text_of(&metrics.families());
    (metrics, page)
}

#[test]
fn facts_that_a_peer_published_and_were_not_received_are_shown() {
    let (_, page) = full_page();
    assert!(page.lines().any(|line| line == r#"murmuration_peer_behind_facts{peer="r1"} 3"#), "{page}");
}

#[test]
fn names_types_and_help_match_the_golden_file() {
    let (_, page) = full_page();
    let surface: String = page.lines().filter(|line| line.starts_with("# ")).map(|line| format!("{line}\n")).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/telemetry/golden/metrics.txt");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if written != surface {
        let new = path.with_extension("txt.new");
        std::fs::write(&new, &surface).unwrap();
        panic!("the metrics page differs from {}; if that is meant, rename {} over it", path.display(), new.display());
    }
}

#[test]
fn a_finished_request_is_counted_once_in_every_family_it_belongs_to() {
    let (_, page) = full_page();
    let labels = r#"{fairness_id="default-flow",model_name="m",priority="0",target_model_name="m"}"#;
    let spread = r#"{model_name="m",priority="0",target_model_name="m"}"#;
    for line in [
        format!("llm_d_epp_request_total{labels} 1"),
        format!("llm_d_epp_request_running{labels} 0"),
        format!("llm_d_epp_request_duration_seconds_sum{spread} 2"),
        format!("llm_d_epp_request_streaming_tpot_seconds_sum{spread} 0.1"),
        r#"murmuration_prefix_predictions_total{result="broken"} 1"#.to_owned(),
        r#"llm_d_epp_request_error_total{error_code="503",fairness_id="",model_name="m",priority="",target_model_name="m"} 1"#
            .to_owned(),
    ] {
        assert!(page.lines().any(|l| l == line), "{line}\n{page}");
    }
}

/// A request for `model` in `flow` that ends; `served` means that the engine returned token usage.
fn request(metrics: &Metrics, model: &str, flow: &str, served: bool) {
    let (model, fairness_id) = (model.to_owned(), flow.to_owned());
    let one =
        Decided { model: model.clone(), target_model: model.clone(), fairness_id: fairness_id.clone(), ..decided() };
    metrics.record(&Event::Decided(Box::new(one)));
    metrics.record(&Event::TicketClosed { ticket: Ticket(1), outcome: Outcome::Completed });
    let (status, usage) = if served { (Some(200), finished().usage) } else { (Some(404), None) };
    let one = RequestFinished { target_model: model.clone(), model, fairness_id, status, usage, ..finished() };
    metrics.record(&Event::RequestFinished(Box::new(one)));
}

fn empty() -> FleetSummary {
    FleetSummary { endpoints: Vec::new(), tickets: Balance::default(), index_bytes: 0, sessions: 0, peers: Vec::new() }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_models_times_a_thousand_flows_keep_the_page_bounded_and_served_names_out_of_other() {
    let metrics = Metrics::register("pool").unwrap();
    request(&metrics, "real-before", "default-flow", true);
    for nth in 0..20_000 {
        request(&metrics, &format!("made-up-{}", nth % 1_000), &format!("flow-{}", nth * 7 % 1_000), false);
        request(&metrics, "real-before", &format!("flow-{}", nth % 1_000), true);
        if nth % 100 == 0 {
            tokio::time::advance(Duration::from_millis(500)).await;
        }
    }
    for nth in 0..50 {
        let model = format!("real-later-{nth}");
        request(&metrics, &model, "default-flow", true);
        tokio::time::advance(Duration::from_millis(1)).await;
        request(&metrics, &model, "default-flow", true);
    }
    let page = text_of(&metrics.families());
    assert!(page.len() < series::UNKNOWN_BYTES_MAX + (4 << 20), "{} bytes", page.len());
    for model in ["real-before", "real-later-0", "real-later-49"] {
        let line = format!("llm_d_epp_request_duration_seconds_count{{model_name=\"{model}\"");
        assert!(page.lines().any(|l| l.starts_with(&line)), "{model}");
    }
    assert!(page.lines().any(|line| line.contains("model_name=\"other\"")));
    assert!(
        !page.lines().any(|line| line.contains("_bucket") && line.contains("fairness_id")),
        "no flow on a histogram"
    );

    tokio::time::advance(Duration::from_secs(601)).await;
    metrics.pool(&empty(), &[]);
    let page = text_of(&metrics.families());
    assert!(!page.contains("made-up") && !page.contains("real-before"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn a_request_in_progress_is_counted_where_it_began_even_when_its_series_is_unused() {
    let metrics = Metrics::register("pool").unwrap();
    let one = Decided { ticket: Ticket(7), ..decided() };
    metrics.record(&Event::Decided(Box::new(one)));
    let running =
        r#"llm_d_epp_request_running{fairness_id="default-flow",model_name="m",priority="0",target_model_name="m"}"#;
    let twin = r#"inference_objective_running_requests{model_name="m"}"#;
    tokio::time::advance(Duration::from_secs(3_000)).await;
    metrics.pool(&empty(), &[]);
    for line in [running, twin] {
        assert!(
            text_of(&metrics.families()).contains(&format!("{line} 1\n")),
            "it stays while a request is in progress"
        );
    }
    for _ in 0..2 {
        metrics.record(&Event::TicketClosed { ticket: Ticket(7), outcome: Outcome::Completed });
        for line in [running, twin] {
            assert!(text_of(&metrics.families()).contains(&format!("{line} 0\n")), "{}", text_of(&metrics.families()));
        }
    }
    metrics.pool(&empty(), &[]);
    for line in [running, twin] {
        assert!(!text_of(&metrics.families()).contains(line));
    }
}

#[test]
fn an_endpoint_that_left_is_off_the_page_at_once() {
    let (metrics, page) = full_page();
    assert!(page.contains(r#"endpoint_name="e0""#));
    metrics.record(&Event::EndpointLeft(EndpointId::new("default", "e0")));
    assert!(!text_of(&metrics.families()).contains(r#"endpoint_name="e0""#));
}

#[test]
fn a_label_is_never_longer_than_256_bytes() {
    let metrics = Metrics::register("pool").unwrap();
    request(&metrics, &"m".repeat(8 << 20), &"f".repeat(1 << 20), false);
    let page = text_of(&metrics.families());
    assert!(page.len() < 1 << 20 && !page.contains(&"m".repeat(257)) && !page.contains(&"f".repeat(257)));
}
