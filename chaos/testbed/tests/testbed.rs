//! A testbed whose parts are killed keeps serving, and leaves nothing behind. Real processes and a real Envoy, which
//! the first run fetches.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use clap::Parser;
use murmuration_engine_sim::http::EngineFault;
use murmuration_kit::client::Client;
use murmuration_testbed::local::args::Command;
use murmuration_testbed::local::{Args, Testbed};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, sleep};

fn args(more: &[&str]) -> Args {
    let folder = std::env::temp_dir().join(format!("murmuration-testbed-{}", std::process::id()));
    let own = ["testbed", "--port", "0", "--program", env!("CARGO_BIN_EXE_testbed"), "--dir", folder.to_str().unwrap()];
    Command::try_parse_from(own.iter().chain(more)).unwrap().testbed
}

/// The status of a chat, over a connection of its own.
async fn chat(at: SocketAddr) -> u16 {
    let body = r#"{"model":"tiny","messages":[{"role":"user","content":"hello"}],"max_tokens":2}"#;
    let answer = Client::new(at).post("/v1/chat/completions", body, &[]).await.unwrap();
    if answer.status != 200 {
        eprintln!("{answer:?}");
    }
    answer.status.as_u16()
}

fn lives(pid: u32) -> bool {
    murmuration_kit::machine::parent_of(pid).is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_testbed_survives_kills_of_its_parts_and_leaves_nothing_behind() {
    let mut steps = Vec::new();
    let args = args(&["--engines", "2", "--replicas", "2"]);
    let mut testbed = Testbed::start(&args, &mut |step: &str| steps.push(step.to_owned())).await.unwrap();
    assert!(steps.iter().any(|step| step == "starting 2 replicas"), "{steps:?}");
    assert_eq!((chat(testbed.public).await, chat(testbed.direct).await), (200, 200));

    testbed.kill_replica(0).await.unwrap();
    assert!(testbed.kill_replica(0).await.is_err() && testbed.replicas[0].pid.is_none());
    for _ in 0..20 {
        assert_eq!(chat(testbed.public).await, 200);
    }
    testbed.restart_replica(0).await.unwrap();
    testbed.kill_replica(1).await.unwrap();
    for _ in 0..20 {
        assert_eq!(chat(testbed.public).await, 200);
    }

    testbed.kill_engine(0).await.unwrap();
    testbed.restart_replica(1).await.unwrap();
    // A replica notices with its next scrape; until then the dead engine may still be picked.
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut in_a_row = 0;
    while in_a_row < 20 {
        assert!(Instant::now() < deadline, "requests still go to the dead engine");
        in_a_row = if chat(testbed.public).await == 200 { in_a_row + 1 } else { 0 };
        sleep(Duration::from_millis(10)).await;
    }
    testbed.restart_engine(0).await.unwrap();
    assert!(testbed.newly_dead().is_empty());
    assert!(testbed.restart_engine(7).await.is_err() && testbed.kill_engine(7).await.is_err());

    let run = testbed.run.clone();
    let engines = testbed.engines.iter().filter_map(|one| one.pid);
    let pids: Vec<u32> =
        engines.chain(testbed.replicas.iter().filter_map(|one| one.pid)).chain(testbed.envoy_pid()).collect();
    assert_eq!(pids.len(), 5);
    let entrances = [testbed.public, testbed.direct, testbed.envoy_admin, testbed.page];
    assert!(testbed.stop().await.is_empty());
    assert!(pids.iter().all(|pid| !lives(*pid)));
    for entrance in entrances {
        assert!(TcpStream::connect(entrance).await.is_err(), "{entrance}");
    }
    std::fs::remove_dir_all(run).unwrap();
}

/// Kills every replica while a streamed answer passes Envoy. All of its events must arrive: a replica that has left the
/// stream can't cut it.
#[tokio::test(flavor = "multi_thread")]
async fn killing_all_replicas_cuts_no_answer_that_they_have_left() {
    let folder = std::env::temp_dir().join(format!("murmuration-leave-{}", std::process::id()));
    let mut args = args(&["--engines", "1", "--replicas", "2", "--response-path", "leave"]);
    args.dir = Some(folder.clone());
    let mut testbed = Testbed::start(&args, &mut |_: &str| {}).await.unwrap();
    let client = Client::new(testbed.public);
    let body = r#"{"model":"tiny","messages":[{"role":"user","content":"tell me a long story"}],"max_tokens":300,"stream":true}"#;
    let mut stream = client.stream("/v1/chat/completions", body, &[]).await.unwrap();
    for _ in 0..20 {
        assert!(stream.next().await.unwrap().is_some());
    }
    testbed.kill_replica(0).await.unwrap();
    testbed.kill_replica(1).await.unwrap();
    let mut events = 20;
    while stream.next().await.unwrap().is_some() {
        events += 1;
    }
    assert!(events > 300, "{events}");
    testbed.stop().await;
    std::fs::remove_dir_all(folder).unwrap();
}

/// The engine that prefills hands over other KV than it has: the check must see it, and nothing else that is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_hand_off_fails_the_check_of_engines_with_roles() {
    let folder = std::env::temp_dir().join(format!("murmuration-roles-{}", std::process::id()));
    let mut args = args(&["--pd", "1x1", "--replicas", "2"]);
    args.dir = Some(folder.clone());
    let mut testbed = Testbed::start(&args, &mut |_: &str| {}).await.unwrap();
    testbed.fault_engine(0, EngineFault { wrong_kv: true, ..EngineFault::default() }).await.unwrap();
    let target = testbed.roles(&args);
    let report = murmuration_testbed::check::pd::run(&target, &mut testbed).await;
    assert!(!report.passed());
    let wrong = |sentence: &&String| sentence.contains("the KV was not that of its prompt");
    assert!(report.sentences.iter().filter(wrong).count() >= 4, "{:#?}", report.sentences);
    assert!(
        report.sentences.iter().any(|sentence| sentence.contains("long chat, streamed")),
        "{:#?}",
        report.sentences
    );
    assert!(testbed.stop().await.is_empty());
    std::fs::remove_dir_all(folder).unwrap();
}
