//! Two thousand streams at once: each is answered or refused, and afterwards no ticket, slot or memory stays in use.
//!
//! A test program of its own, because it counts what the whole process allocates. Resident memory would not do: how
//! much of what was freed an allocator keeps depends on its arenas, and so on the cores of the machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::alloc::System;

use cap::Cap;
use murmuration_actors::admin::client;
use murmuration_kit::ext_proc::expect::{destination, piece, post, refusal, request_body, response_body, streaming};
use murmuration_kit::{Config, ExtProcStream, Replica};

const POOL: [&str; 1] = ["127.0.0.1:7"];
/// Streams that are opened at once, and the most that may be open.
const STREAMS: usize = 2_000;
const STREAMS_MAX: usize = 1_500;
/// Bytes of each body. Leaked bodies alone would take 47 MiB a round.
const BODY_BYTES: usize = 32 << 10;
/// Rounds until every table and buffer has its working size.
const WARM_UP: usize = 3;
/// Rounds in each of two measurements of memory.
const MEASURED: usize = 3;
/// Bytes by which the minimum of the second measurement may exceed that of the first. A leak of 120 bytes for each
/// stream of the rounds between them takes more; measured, a round leaves less than a kilobyte.
const GROWTH_MAX: usize = 512 << 10;

#[global_allocator]
static ALLOCATED: Cap<System> = Cap::new(System, usize::MAX);

/// How the streams of one round ended.
#[derive(Debug, Default, PartialEq)]
struct Outcomes {
    answered: usize,
    refused: usize,
}

/// The ticket counts of `/debug/fleet`: opened so far, open now.
async fn tickets(replica: &Replica) -> (u64, u64) {
    let (status, page) = client::fetch(replica.addresses().admin, "/debug/fleet").await.unwrap();
    assert_eq!(status, 200);
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    let number = |key: &str| page["tickets"][key].as_u64().unwrap_or_else(|| panic!("no {key} in {page}"));
    (number("reserved"), number("open"))
}

/// Opens all streams, sends a request on each, and ends half of them in order, half as if their proxy had failed.
async fn run_round(replica: &Replica) -> Outcomes {
    let body = format!("{{\"model\":\"base\",\"prompt\":\"{}\"}}", "x".repeat(BODY_BYTES)).into_bytes();
    let mut streams: Vec<ExtProcStream> = (0..STREAMS).map(|_| replica.open_stream()).collect();
    for stream in &streams {
        stream.send(post(&[])).await;
        stream.send(request_body(&body, true)).await;
    }
    let mut outcomes = Outcomes::default();
    let mut answered = Vec::new();
    for mut stream in streams.drain(..) {
        let head = stream.answer().await;
        if head.response.as_ref().is_some_and(is_immediate) {
            let (status, reason, _) = refusal(&head);
            assert_eq!((status, reason.as_str()), (503, "too-many-streams"));
            outcomes.refused += 1;
            // The replica closes a refused stream, which holds no slot.
            assert!(stream.receive().await.is_none());
            continue;
        }
        assert_eq!(destination(&head), POOL[0]);
        assert!(piece(&stream.answer().await).end_of_stream);
        outcomes.answered += 1;
        answered.push(stream);
    }
    assert_eq!(tickets(replica).await.1, outcomes.answered as u64, "exactly the answered requests have a ticket");
    for (index, mut stream) in answered.into_iter().enumerate() {
        stream.send(streaming()).await;
        if index % 2 == 0 {
            stream.send(response_body(b"data: [DONE]\n\n", true)).await;
            stream.end().await;
        }
    }
    replica.until(|figures| figures.in_flight.is_empty() && figures.streams == 0).await;
    outcomes
}

fn is_immediate(response: &murmuration_proto::ext_proc::Response) -> bool {
    matches!(response, murmuration_proto::ext_proc::Response::ImmediateResponse(_))
}

#[tokio::test]
async fn two_thousand_streams_are_answered_or_refused_and_leave_nothing_behind() {
    let replica = Replica::start(Config { streams_max: STREAMS_MAX, ..Config::default() }, &POOL).await;
    // All streams are opened before any of them ends, so exactly this many find a slot.
    let expected = Outcomes { answered: STREAMS_MAX, refused: STREAMS - STREAMS_MAX };
    assert_eq!(run_round(&replica).await, expected);
    let mut live = Vec::new();
    for round in 1..WARM_UP + 2 * MEASURED {
        assert_eq!(run_round(&replica).await, expected, "every slot is free again before round {round}");
        live.push(ALLOCATED.allocated());
    }
    assert_eq!(tickets(&replica).await, (((live.len() + 1) * STREAMS_MAX) as u64, 0));
    // The minimum of a few rounds, because a single round may keep memory a moment longer.
    let least = |rounds: &[usize]| rounds.iter().copied().min().expect("a round");
    let (first, second) = live[live.len() - 2 * MEASURED..].split_at(MEASURED);
    assert!(least(second) < least(first) + GROWTH_MAX, "bytes in use after each round: {live:?}");
    println!("bytes in use after each round: {live:?}");
}
