//! Two thousand streams at once: each is answered or refused, and when they are gone nothing of them is left.
//!
//! A test program of its own, because it looks at the memory of the whole process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use murmuration_actors::admin::client;
use support::envoy::{destination, piece, post, refusal, request_body, response_body, streaming};
use support::{Config, Replica, Talk};

const POOL: [&str; 1] = ["127.0.0.1:7"];
/// Streams that come at once, and those that may be open.
const COMING: usize = 2_000;
const STREAMS_MAX: usize = 1_500;
/// Bytes of each body: a leak of bodies alone would be 47 MiB a round.
const BODY_BYTES: usize = 32 << 10;
/// Rounds until the process has its working size: allocators keep some of what is freed.
const WARM_UP: usize = 4;
/// Rounds over which memory is looked at, twice, with as many between that are not.
const LOOKED_AT: usize = 3;
/// Kilobytes by which the least memory of the last rounds may be above the least of the first ones. Six rounds lie between
/// them: bodies that leak would be 280,000.
const GROWTH_KB_MAX: u64 = 60_000;

/// What became of a crowd.
#[derive(Debug, Default, PartialEq)]
struct Fate {
    answered: usize,
    refused: usize,
}

/// The process's resident memory, in kilobytes; `None` where the system does not tell.
fn resident_kb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// What `/debug/fleet` says of tickets: opened, open.
async fn tickets(replica: &Replica) -> (u64, u64) {
    let (status, page) = client::fetch(replica.addresses().admin, "/debug/fleet").await.unwrap();
    assert_eq!(status, 200);
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    let number = |key: &str| page["tickets"][key].as_u64().unwrap_or_else(|| panic!("no {key} in {page}"));
    (number("reserved"), number("open"))
}

/// Opens all streams, lets each ask, and ends them: half of them in order, half as if their proxy had died.
async fn crowd(replica: &Replica) -> Fate {
    let body = format!("{{\"model\":\"base\",\"prompt\":\"{}\"}}", "x".repeat(BODY_BYTES)).into_bytes();
    let mut talks: Vec<Talk> = (0..COMING).map(|_| replica.talk()).collect();
    for talk in &talks {
        talk.send(post(&[])).await;
        talk.send(request_body(&body, true)).await;
    }
    let mut fate = Fate::default();
    let mut answered = Vec::new();
    for mut talk in talks.drain(..) {
        let head = talk.answer().await;
        if head.response.as_ref().is_some_and(is_immediate) {
            let (status, reason, _) = refusal(&head);
            assert_eq!((status, reason.as_str()), (503, "too-many-streams"));
            fate.refused += 1;
            // A stream that was refused is closed by who refused it; it holds no place.
            assert!(talk.receive().await.is_none());
            continue;
        }
        assert_eq!(destination(&head), POOL[0]);
        assert!(piece(&talk.answer().await).end_of_stream);
        fate.answered += 1;
        answered.push(talk);
    }
    assert_eq!(tickets(replica).await.1, fate.answered as u64, "who was answered has a ticket, and nobody else");
    for (index, mut talk) in answered.into_iter().enumerate() {
        talk.send(streaming()).await;
        if index % 2 == 0 {
            talk.send(response_body(b"data: [DONE]\n\n", true)).await;
            while talk.receive().await.is_some() {}
        }
    }
    replica.until(|figures| figures.in_flight.is_empty() && figures.streams == 0).await;
    fate
}

fn is_immediate(response: &murmuration_proto::ext_proc::Response) -> bool {
    matches!(response, murmuration_proto::ext_proc::Response::ImmediateResponse(_))
}

#[tokio::test]
async fn two_thousand_streams_are_answered_or_refused_and_leave_nothing_behind() {
    let replica = Replica::start(Config { streams_max: STREAMS_MAX, ..Config::default() }, &POOL).await;
    // Streams open at once come before any of them ends, so exactly so many find a place.
    let expected = Fate { answered: STREAMS_MAX, refused: COMING - STREAMS_MAX };
    assert_eq!(crowd(&replica).await, expected);
    let rounds = WARM_UP + 3 * LOOKED_AT;
    let mut resident = Vec::new();
    for round in 1..rounds {
        assert_eq!(crowd(&replica).await, expected, "every place is free again before round {round}");
        resident.extend(resident_kb());
    }
    assert_eq!(tickets(&replica).await, ((rounds * STREAMS_MAX) as u64, 0));
    let Some((_, looked_at)) = resident.split_at_checked(WARM_UP - 1) else {
        println!("memory is not looked at: this system has no /proc/self/status");
        return;
    };
    // The least of a few rounds: what one round keeps a moment longer than another says nothing.
    let least = |rounds: &[u64]| rounds.iter().copied().min().expect("a round");
    let (before, after) = (least(&looked_at[..LOOKED_AT]), least(&looked_at[2 * LOOKED_AT..]));
    println!("resident: {before} kB, and {} rounds later {after} kB", 2 * LOOKED_AT);
    assert!(after < before + GROWTH_KB_MAX, "{before} kB became {after} kB: {resident:?}");
}
