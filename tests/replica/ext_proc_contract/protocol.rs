//! The written protocol, rule by rule.

use murmuration_proto::names;

use murmuration_kit::ext_proc::expect::*;
use murmuration_kit::{Config, Replica, SHEDDABLE};

const POOL: [&str; 3] = ["127.0.0.1:7", "127.0.0.2:7", "127.0.0.3:7"];

#[tokio::test]
async fn p1_the_service_speaks_full_duplex_both_ways() {
    let replica = Replica::start(Config::default(), &POOL).await;
    let mut stream =
        replica.sends([post(&[]), request_body(&COMPLETION[..10], false), request_body(&COMPLETION[10..], true)]).await;
    assert!(POOL.contains(&destination(&stream.answer().await).as_str()));
    assert_eq!(piece(&stream.answer().await).body, COMPLETION);
    stream.send(streaming()).await;
    answered(&stream.answer().await);
    stream.send(response_body(b"data: 1\n\n", false)).await;
    assert_eq!(piece(&stream.answer().await).body, b"data: 1\n\n");
    stream.send(response_body(b"data: [DONE]\n\n", true)).await;
    let last = stream.answer().await;
    assert!(piece(&last).end_of_stream);
    assert!(stream.receive().await.is_none(), "the stream ends in order");
    replica.until(|figures| figures.completed == 1 && figures.in_flight.is_empty()).await;
}

#[tokio::test]
async fn p2_only_endpoints_of_the_subset_are_chosen() {
    let replica = Replica::start(Config::default(), &POOL).await;
    let (head, _) = replica.ask(hinted(post(&[]), &["127.0.0.2:7", "10.9.9.9:1"]), COMPLETION).await;
    assert_eq!(destination(&head), "127.0.0.2:7");
}

#[tokio::test]
async fn p2_an_address_has_one_spelling() {
    let replica =
        Replica::start(Config { destinations: 2, ..Config::default() }, &["[::ffff:127.0.0.2]:7", POOL[0]]).await;
    for hint in ["127.0.0.2:7", "[::ffff:127.0.0.2]:7", "[::ffff:7f00:2]:7"] {
        let (head, _) = replica.ask(hinted(post(&[]), &[hint]), COMPLETION).await;
        assert_eq!(destination(&head), "127.0.0.2:7", "{hint}");
        assert_eq!(load_balancer(&head, names::DESTINATION), Some("127.0.0.2:7".into()));
    }
    let mut stream = replica.asked().await;
    stream.send(served(streaming(), "[::ffff:127.0.0.1]:7")).await;
    stream.answer().await;
    let expected = POOL[0].parse().unwrap();
    replica.until(|figures| figures.in_flight.keys().any(|at| *at == expected)).await;
}

#[tokio::test]
async fn p2_an_empty_subset_is_503() {
    let replica = Replica::start(Config::default(), &POOL).await;
    assert_eq!(replica.refused(hinted(post(&[]), &[""; 0]), COMPLETION).await.0, 503);
}

#[tokio::test]
async fn p2_a_subset_that_matches_no_endpoint_is_503() {
    let replica = Replica::start(Config::default(), &POOL).await;
    for unmatched in ["10.9.9.9:8000", "127.0.0.1", "not an address"] {
        assert_eq!(replica.refused(hinted(post(&[]), &[unmatched]), COMPLETION).await.0, 503, "{unmatched}");
    }
}

#[tokio::test]
async fn p2_without_a_subset_the_whole_pool_is_chosen_from() {
    let replica = Replica::start(Config { destinations: 3, ..Config::default() }, &POOL).await;
    let (head, _) = replica.ask(post(&[]), COMPLETION).await;
    let mut chosen: Vec<String> = destination(&head).split(',').map(str::to_owned).collect();
    chosen.sort();
    assert_eq!(chosen, POOL);
}

#[tokio::test]
async fn p3_header_and_metadata_hold_the_same_destination() {
    let replica = Replica::start(Config { destinations: 2, ..Config::default() }, &POOL).await;
    let (head, _) = replica.ask(post(&[]), COMPLETION).await;
    assert_eq!(load_balancer(&head, names::DESTINATION), Some(destination(&head)));
    assert!(answered(&head).response.as_ref().unwrap().clear_route_cache);
}

#[tokio::test]
async fn p3_fallbacks_are_listed_in_order() {
    let replica = Replica::start(Config { destinations: 2, ..Config::default() }, &["[::1]:7", POOL[1]]).await;
    let (head, _) = replica.ask(hinted(post(&[]), &["[::1]:7"]), COMPLETION).await;
    assert_eq!(destination(&head), "[::1]:7");
    let (head, _) = replica.ask(post(&[]), COMPLETION).await;
    assert_eq!(destination(&head).split(',').count(), 2);
}

#[tokio::test]
async fn p4_the_list_holds_endpoints_of_this_pool_only() {
    let replica = Replica::start(Config { destinations: 8, ..Config::default() }, &POOL[..2]).await;
    let hint = ["127.0.0.2:7", "10.77.0.1:8000"];
    let (head, _) = replica
        .open_stream()
        .ask(hinted(post(&[("x-gateway-destination-endpoint", "10.77.0.1:8000")]), &hint), COMPLETION)
        .await;
    assert_eq!(destination(&head), "127.0.0.2:7");
}

#[tokio::test]
async fn p5_a_pool_without_endpoints_is_503() {
    let replica = Replica::start(Config::default(), &[]).await;
    let (status, reason, body) = replica.refused(post(&[]), COMPLETION).await;
    assert_eq!((status, reason.as_str()), (503, "rejected-no-endpoints"));
    assert!(body.starts_with("inference error: ServiceUnavailable - "), "{body}");
}

#[tokio::test]
async fn p5_a_request_that_is_shed_is_429() {
    let replica = Replica::start(Config::default(), &POOL).await;
    let (status, reason, body) = replica.refused(post(&[(names::OBJECTIVE[0], SHEDDABLE)]), COMPLETION).await;
    assert_eq!((status, reason.as_str()), (429, "rejected-saturated"));
    assert!(body.starts_with("inference error: ResourceExhausted - "), "{body}");
}

#[tokio::test]
async fn p6_the_endpoint_that_served_is_the_one_that_is_counted() {
    let replica = Replica::start(Config { destinations: 2, ..Config::default() }, &POOL[..2]).await;
    let mut stream = replica.open_stream();
    let (head, _) = stream.ask(post(&[]), COMPLETION).await;
    let fallback = destination(&head).split(',').nth(1).unwrap().to_owned();
    stream.send(served(streaming(), &fallback)).await;
    stream.answer().await;
    let served = fallback.parse().unwrap();
    replica.until(|figures| figures.in_flight.keys().eq([&served])).await;
    stream.send(response_body(b"", true)).await;
    stream.answer().await;
    replica.until(|figures| figures.in_flight.is_empty()).await;
}
