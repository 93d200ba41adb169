//! The server, called directly.

use murmuration::replication::codec;
use murmuration_proto::peer::{FollowReply, FollowRequest, ReplicationClient};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};

use super::super::subscriber_slots::SubscriberSlots;
use super::super::subscriber_stream::SubscriberStream;
use super::*;

async fn channel(server: &TestServer) -> Channel {
    let uri = format!("http://{}", server.address);
    Endpoint::from_shared(uri).unwrap().initial_stream_window_size(STREAM_WINDOW).connect().await.unwrap()
}

fn asking(follower: &str) -> FollowRequest {
    FollowRequest {
        replica: follower.to_owned(),
        wire_version_min: codec::VERSION.into(),
        wire_version_max: codec::VERSION.into(),
        incarnation: 1,
        after: 0,
        history: false,
        pool: String::new(),
        origin: String::new(),
    }
}

async fn ask(channel: &Channel, request: FollowRequest) -> Result<Streaming<FollowReply>, tonic::Status> {
    ReplicationClient::new(channel.clone(), 2 << 20).follow(request).await
}

/// The next reply. The bound only ends a failing test.
async fn reply(stream: &mut Streaming<FollowReply>) -> Result<Option<FollowReply>, tonic::Status> {
    tokio::time::timeout(std::time::Duration::from_secs(20), stream.message()).await.expect("a reply, or an end")
}

async fn next(stream: &mut Streaming<FollowReply>) -> Batch {
    let reply = reply(stream).await.unwrap().unwrap();
    codec::decode(&reply.batch).unwrap().batch
}

#[tokio::test]
async fn a_follower_of_another_wire_version_is_refused_by_name() {
    let server = TestServer::starts(publisher(1)).await;
    let channel = channel(&server).await;
    let newer = u32::from(codec::VERSION) + 1;
    let request = FollowRequest { wire_version_min: newer, wire_version_max: newer + 1, ..asking("a") };
    let status = ask(&channel, request).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("upgrade"), "{}", status.message());
    let both = FollowRequest { wire_version_max: newer, ..asking("a") };
    assert!(ask(&channel, both).await.is_ok(), "a newer follower that still reads ours is served");
}

#[tokio::test]
async fn a_follower_is_served_the_pool_that_it_names_and_no_other() {
    let server = TestServer::starts(publisher(1)).await;
    publish_in_flight(&server.publisher, 1, 7);
    let channel = channel(&server).await;
    let of = |pool: &str| FollowRequest { pool: pool.to_owned(), ..asking("a") };
    let status = ask(&channel, of("llama")).await.unwrap_err();
    assert!(status.code() == Code::NotFound && status.message().contains("llama"), "{status}");
    for named in ["", PoolId::DEFAULT] {
        let mut stream = ask(&channel, of(named)).await.unwrap();
        assert_eq!(reply(&mut stream).await.unwrap().unwrap().head, 1);
        assert!(next(&mut stream).await.pool.is_default());
    }
}

/// Its first byte is the format that the follower reads, in batches and in history.
#[tokio::test]
async fn a_follower_of_an_earlier_wire_version_is_sent_what_it_reads() {
    let server = TestServer::starts(publisher(1)).await;
    publish_in_flight(&server.publisher, 1, 7);
    let channel = channel(&server).await;
    for (wire_version_max, format) in [(3, 1), (codec::VERSION.into(), codec::FORMAT), (99, codec::FORMAT)] {
        let request = FollowRequest { wire_version_min: 1, wire_version_max, history: true, ..asking("a") };
        let mut stream = ask(&channel, request).await.unwrap();
        let (greeting, history) = (reply(&mut stream).await, reply(&mut stream).await.unwrap().unwrap().history);
        assert_eq!((greeting.unwrap().unwrap().incarnation, history[0]), (1, format), "{wire_version_max}");
        let batch = reply(&mut stream).await.unwrap().unwrap().batch;
        assert_eq!(batch[0], format, "{wire_version_max}");
        assert!(codec::decode_as(wire_version_max.min(4) as u8, &batch).is_ok());
    }
}

#[tokio::test]
async fn a_follower_without_a_name_or_with_ours_is_refused() {
    let server = TestServer::starts(publisher(1)).await;
    let channel = channel(&server).await;
    for name in ["", "b", &"x".repeat(codec::NAME_BYTES_MAX + 1)] {
        assert_eq!(ask(&channel, asking(name)).await.unwrap_err().code(), Code::InvalidArgument, "{name:?}");
    }
}

/// A replica that is no member takes no slot and gets nothing. One that becomes a member a moment later is served.
#[tokio::test]
async fn only_members_may_follow() {
    let server = TestServer::starts(publisher(1)).await;
    publish_placements(&server.publisher, 1);
    let channel = channel(&server).await;
    let request = FollowRequest { history: true, ..asking("nobody") };
    assert_eq!(ask(&channel, request.clone()).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(ignored(&server.telemetry, "not-a-member"), 1.0);
    let nobody = Member { replica: ReplicaId("nobody".into()), ..server.member() };
    let (served, ()) =
        tokio::join!(ask(&channel, request), async { drop(server.followers.send_replace(vec![nobody])) });
    assert!(served.is_ok());
}

/// A lane that failed continues as the next incarnation. Followers of the former one call again.
#[tokio::test]
async fn a_stream_of_a_former_incarnation_ends() {
    let server = TestServer::starts(publisher(1)).await;
    let channel = channel(&server).await;
    let mut stream = ask(&channel, asking("a")).await.unwrap();
    assert_eq!(reply(&mut stream).await.unwrap().unwrap().incarnation, 1);
    server.publisher.begin(Incarnation(2));
    assert_eq!(reply(&mut stream).await.unwrap_err().code(), Code::Unavailable);
    let mut stream = ask(&channel, asking("a")).await.unwrap();
    assert_eq!(reply(&mut stream).await.unwrap().unwrap().incarnation, 2);
}

#[tokio::test]
async fn the_newest_stream_of_a_follower_wins() {
    let server = TestServer::starts(publisher(1)).await;
    let channel = channel(&server).await;
    let mut old = ask(&channel, asking("a")).await.unwrap();
    let mut new = ask(&channel, asking("a")).await.unwrap();
    assert!(reply(&mut old).await.unwrap().is_some(), "its greeting");
    assert_eq!(reply(&mut old).await.unwrap_err().code(), Code::Aborted);
    assert!(reply(&mut new).await.unwrap().is_some(), "its greeting");
    publish_placements(&server.publisher, 1);
    assert_eq!(next(&mut new).await.upto, 1);
}

#[tokio::test]
async fn one_follower_too_many_is_refused_and_served_when_another_left() {
    let server = TestServer::starts(publisher(1)).await;
    let mut streams = Vec::new();
    let (mut served, mut channels) = (0, Vec::new());
    while served < SUBSCRIBERS_MAX {
        channels.push(channel(&server).await);
        for _ in 0..8 {
            streams.push(ask(channels.last().unwrap(), asking(&format!("r{served}"))).await.unwrap());
            served += 1;
        }
    }
    let channel = channel(&server).await;
    assert_eq!(ask(&channel, asking("late")).await.unwrap_err().code(), Code::ResourceExhausted);
    streams.pop();
    let served = async {
        while let Err(status) = ask(&channel, asking("late")).await {
            assert_eq!(status.code(), Code::ResourceExhausted);
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), served).await.expect("a slot became free");
}

#[tokio::test]
async fn another_incarnation_or_an_impossible_number_starts_at_zero() {
    let server = TestServer::starts(publisher(7)).await;
    publish_placements(&server.publisher, 5);
    let channel = channel(&server).await;
    for (incarnation, after, expected) in [(7, 2, 2), (7, 5_000, 0), (6, 2, 0), (7, u64::MAX, 0)] {
        let mut stream = ask(&channel, FollowRequest { incarnation, after, ..asking("a") }).await.unwrap();
        let greeting = reply(&mut stream).await.unwrap().unwrap();
        assert_eq!((greeting.incarnation, greeting.head, greeting.batch.len()), (7, 5, 0));
        assert_eq!(next(&mut stream).await.after, expected, "incarnation {incarnation}, after {after}");
    }
}

/// A follower that was away while an endpoint was removed, and until the removal is forgotten, would keep its old facts
/// about that endpoint.
#[tokio::test]
async fn a_follower_that_missed_a_forgotten_removal_starts_at_zero() {
    let server = TestServer::starts(publisher(7)).await;
    publish_in_flight(&server.publisher, 1, 3);
    publish_in_flight(&server.publisher, 2, 1);
    server.publisher.publish([(Record::Removed(EndpointKey(1)), Timestamp::ZERO)]);
    let later = Timestamp::ZERO + murmuration::replication::fact_log::REMOVED_KEPT;
    server.publisher.publish([(Record::Unreachable(EndpointKey(2)), later)]);
    let channel = channel(&server).await;
    for (after, head, expected) in [(2, 0, 0), (3, 4, 3)] {
        let request = FollowRequest { incarnation: 7, after, ..asking("a") };
        let mut stream = ask(&channel, request).await.unwrap();
        assert_eq!(reply(&mut stream).await.unwrap().unwrap().head, head);
        assert_eq!(next(&mut stream).await.after, expected, "after {after}");
    }
}

#[tokio::test]
async fn followers_at_the_same_cursor_are_sent_the_same_bytes() {
    let publisher = publisher(1);
    publish_placements(&publisher, 3);
    let batch = |version| publisher.batch_after(version, 0, 3, 9).unwrap();
    let (one, older, other) = (batch(codec::VERSION), batch(3), batch(codec::VERSION));
    assert_ne!(one.bytes, older.bytes, "each format has bytes of its own");
    assert_eq!(batch(3).bytes.as_ref().map(|b| b.as_ptr()), older.bytes.as_ref().map(|b| b.as_ptr()));
    assert_eq!(one.bytes.as_ref().map(|b| b.as_ptr()), other.bytes.as_ref().map(|b| b.as_ptr()));
    publish_placements(&publisher, 1);
    assert_eq!(publisher.batch_after(codec::VERSION, 0, 4, 9).unwrap().upto, 4, "not when there is more that must go");
}

/// A follower whose process is stopped for a while. Only what the transport has already taken piles up, however much is
/// published. Later the follower gets the newest facts.
#[tokio::test]
async fn a_slow_follower_gets_the_newest_facts_and_nothing_queues_for_it() {
    let server = TestServer::starts(publisher(1)).await;
    let mut stream = ask(&channel(&server).await, asking("slow")).await.unwrap();
    reply(&mut stream).await.unwrap();
    let sent = || counted(&server.telemetry, "murmuration_peer_bytes_total", "direction=\"sent\"");
    publish_placements(&server.publisher, 16_000);
    eventually(|| sent() > f64::from(STREAM_WINDOW)).await;
    for n in 1..=100 {
        publish_placements(&server.publisher, 1_000);
        (0..10).for_each(|endpoint| publish_in_flight(&server.publisher, endpoint, n));
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    // 100,000 more placements of more than 160 bytes were published: 16 MB.
    assert!(sent() < f64::from(4 << 20), "{} bytes were handed to the transport", sent());
    let (mut upto, mut reports) = (0, Vec::new());
    while upto < 16_000 + 101_000 {
        let batch = next(&mut stream).await;
        assert_eq!(batch.after, upto);
        upto = batch.upto;
        reports.extend(batch.facts.into_iter().filter_map(|fact| match fact.record {
            Record::InFlight(report) => Some(report),
            _ => None,
        }));
    }
    assert!(reports.len() < 500, "{} of 1,000 reports were sent", reports.len());
    assert!(reports.iter().rev().take(10).all(|report| report.requests == 100), "the last of each is the newest");
}

/// Load reports with the longest lists of adapters: a thousand of them exceed the largest batch.
#[tokio::test]
async fn facts_that_do_not_fit_one_batch_come_in_several() {
    use murmuration::fleet::{Adapters, LoadReport};
    use murmuration::replication::EndpointLoad;

    let server = TestServer::starts(publisher(1)).await;
    let name = |n: usize| format!("{n:0>200}");
    let names: Vec<String> = (0..codec::ADAPTERS_MAX).map(name).collect();
    let adapters = Some(Adapters { max: 64, running: names.clone(), waiting: names });
    let report = LoadReport { waiting: 1, running: 1, kv_usage: 0.5, adapters, awake: true, ..LoadReport::default() };
    server.publisher.publish((0..200).map(|n| {
        let report = report.clone();
        (Record::Load(EndpointLoad { endpoint: EndpointKey(n), report }), Timestamp::ZERO)
    }));
    let mut stream = ask(&channel(&server).await, asking("a")).await.unwrap();
    reply(&mut stream).await.unwrap();
    let (mut upto, mut facts) = (0, 0);
    while upto < 200 {
        let batch = next(&mut stream).await;
        assert_eq!(batch.after, upto);
        (upto, facts) = (batch.upto, facts + batch.facts.len());
    }
    assert_eq!(facts, 200);
}

#[tokio::test]
async fn facts_published_before_the_close_are_sent_and_then_the_stream_ends() {
    use tokio_stream::StreamExt;

    let (_, handle) = SchedulerHandle::unstarted(std::time::Duration::from_secs(1));
    let (publisher, (closing, closes)) = (publisher(1), watch::channel(false));
    let receiver = Receiver::new(publisher.me(), handle, telemetry());
    let slot = SubscriberSlots::default().take(ReplicaId("a".into())).unwrap();
    let (_followers, members) = watch::channel(followers());
    let copies = Copies::default();
    let serving =
        Serving { publishers: vec![publisher.clone()], copies, receiver, members, rotated: watch::channel(0).0 };
    let (_releasing, released) = watch::channel(0);
    let mut subscriber_stream = SubscriberStream::new(
        (publisher.clone(), &serving),
        slot,
        (closes.clone(), closes, released),
        (codec::VERSION, 0),
        Default::default(),
    );
    assert_eq!(subscriber_stream.next().await.unwrap().unwrap().head, 0);
    let is_subscribed = || publisher.subscribers().has(&ReplicaId("a".into()));
    assert!(is_subscribed(), "as long as its stream is there");
    publish_in_flight(&publisher, 1, 0);
    closing.send_replace(true);
    let last = subscriber_stream.next().await.unwrap().unwrap();
    assert_eq!(codec::decode(&last.batch).unwrap().batch.upto, 1);
    assert!(subscriber_stream.next().await.is_none());
    assert!(!is_subscribed());
}
