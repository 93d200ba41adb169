//! The surface of metrics, written down: what operators build on must not change by accident.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use murmuration::event::{Decided, RequestFinished};
use murmuration::fleet::{CacheLoss, FailureCounts, InFlight, Missing};
use murmuration::id::{EndpointId, Ticket};
use murmuration::id::{Incarnation, ReplicaId};
use murmuration::prefix::PrefixMatch;
use murmuration::request::{Outcome, RefusalCode, Usage};
use murmuration::scheduler::{Balance, FleetSummary};
use murmuration::share::{Member, PeerSummary, ReplicaCard};

use super::*;

fn decided() -> Decided {
    Decided {
        ticket: Ticket(1),
        request_id: "r".into(),
        model: "m".into(),
        target_model: "m".into(),
        fairness_id: "default-flow".into(),
        priority: 0,
        endpoint: EndpointId::new("default", "e0"),
        port: 8000,
        matched: PrefixMatch { blocks: 1, of: 2 },
        block_tokens: 64,
        candidates: 2,
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
        promised_share: 0.9,
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
        Event::Reloaded(String::new()),
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
    };
    let summary = FleetSummary {
        endpoints: Vec::new(),
        tickets: Balance::default(),
        index_bytes: 0,
        sessions: 0,
        peers: vec![peer],
    };
    let card = ReplicaCard::new(([127, 0, 0, 1], 9002).into(), None, String::new());
    let member = Member { replica: ReplicaId("r1".into()), incarnation: Incarnation(1), card, head: 7 };
    metrics.pool(&summary, &[member]);
    let page = metrics.page();
    (metrics, page)
}

#[test]
fn what_a_peer_said_and_was_not_heard_is_shown() {
    let (_, page) = full_page();
    assert!(page.lines().any(|line| line == r#"murmuration_peer_behind_facts{peer="r1"} 3"#), "{page}");
}

#[test]
fn names_types_and_help_are_what_is_written_down() {
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
    for line in [
        format!("llm_d_epp_request_total{labels} 1"),
        format!("llm_d_epp_request_running{labels} 0"),
        format!("llm_d_epp_request_duration_seconds_sum{labels} 2"),
        format!("llm_d_epp_request_streaming_tpot_seconds_sum{labels} 0.1"),
        r#"murmuration_prefix_promises_total{result="broken"} 1"#.to_owned(),
        r#"llm_d_epp_request_error_total{error_code="503",fairness_id="",model_name="m",priority="",target_model_name="m"} 1"#
            .to_owned(),
    ] {
        assert!(page.lines().any(|l| l == line), "{line}\n{page}");
    }
}
