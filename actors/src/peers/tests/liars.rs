//! Servers that send wrong, invalid or repeated replies.

use std::sync::atomic::{AtomicUsize, Ordering};

use murmuration::replication::codec;
use murmuration_proto::peer::{FollowReply, FollowRequest, Replication, ReplicationServer};
use tokio::io::AsyncWriteExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::async_trait;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::*;

/// Sends the same replies to each caller, and then keeps the stream open.
struct FaultyPeer {
    replies: Vec<FollowReply>,
    calls: Arc<AtomicUsize>,
}

struct FaultyServer {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

#[async_trait]
impl Replication for FaultyPeer {
    type FollowStream = ReceiverStream<Result<FollowReply, Status>>;

    async fn follow(&self, _: Request<FollowRequest>) -> Result<Response<Self::FollowStream>, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = tokio::sync::mpsc::channel(self.replies.len() + 1);
        for reply in self.replies.clone() {
            sender.try_send(Ok(reply)).unwrap();
        }
        // Leaked, so that the stream stays open until the follower leaves it.
        std::mem::forget(sender);
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

impl FaultyServer {
    async fn starts(batches: Vec<Vec<u8>>) -> Self {
        let greeting = FollowReply { incarnation: 1, head: 5, ..FollowReply::default() };
        let batches = batches.into_iter().map(|bytes| FollowReply { batch: bytes.into(), ..FollowReply::default() });
        Self::starts_with([greeting].into_iter().chain(batches).collect()).await
    }

    async fn starts_with(replies: Vec<FollowReply>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, calls) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let server = ReplicationServer::new(FaultyPeer { replies, calls: calls.clone() }, 1_024);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let router = tonic::transport::Server::builder().add_service(server);
            router.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap();
        });
        Self { address, calls, _tasks: tasks }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

fn batch(origin: &str, after: u64, upto: u64) -> Vec<u8> {
    batch_of(PoolId::default(), origin, after, upto)
}

fn batch_of(pool: PoolId, origin: &str, after: u64, upto: u64) -> Vec<u8> {
    let (origin, incarnation) = (ReplicaId(origin.into()), Incarnation(1));
    codec::encode(&Batch { origin, incarnation, pool, after, upto, facts: Vec::new() }).unwrap()
}

#[tokio::test]
async fn facts_about_a_pool_that_is_not_served_are_counted_and_move_nothing() {
    let other = PoolId::new("llama").unwrap();
    let replies =
        vec![batch("b", 0, 2), batch_of(other.clone(), "b", 2, 99), batch_of(other, "b", 99, 100), batch("b", 2, 5)];
    let faulty = FaultyServer::starts(replies).await;
    let follower = TestFollower::follows(vec![member(1, faulty.address)]).await;
    eventually(|| follower.stream().is_some_and(|stream| stream.upto == 5)).await;
    assert!(follower.telemetry.page().contains("murmuration_peer_ignored_total{reason=\"other-pool\"} 2"));
    assert_eq!(faulty.calls(), 1, "the stream stays");
}

#[tokio::test]
async fn a_peer_that_sends_rubbish_three_times_is_counted_and_quarantined() {
    let faulty = FaultyServer::starts(vec![b"rubbish".to_vec(), vec![1; 5_000], vec![1], batch("b", 0, 5)]).await;
    let follower = TestFollower::follows(vec![member(1, faulty.address)]).await;
    eventually(|| follower.is_down_because("it sent 3")).await;
    assert_eq!(
        (ignored(&follower.telemetry, "malformed") + ignored(&follower.telemetry, "too-new"), faulty.calls()),
        (3.0, 1)
    );
    assert!(follower.batches().is_empty(), "nothing of it was taken in");
}

#[tokio::test]
async fn a_peer_that_publishes_for_another_is_counted_and_quarantined() {
    let faulty = FaultyServer::starts(vec![batch("c", 0, 1), batch("follower", 0, 1), batch("", 0, 1)]).await;
    let follower = TestFollower::follows(vec![member(1, faulty.address)]).await;
    eventually(|| follower.is_down_because("not its own")).await;
    assert_eq!(
        (ignored(&follower.telemetry, "not-the-origin") + ignored(&follower.telemetry, "malformed"), faulty.calls()),
        (3.0, 1)
    );
    assert!(follower.batches().is_empty());
}

#[tokio::test]
async fn a_peer_that_repeats_batches_is_counted_and_quarantined() {
    let once = batch("b", 0, 5);
    let faulty = FaultyServer::starts(vec![once.clone(), once.clone(), once.clone(), once]).await;
    let follower = TestFollower::follows(vec![member(1, faulty.address)]).await;
    eventually(|| follower.is_down_because("had sent before")).await;
    assert_eq!((ignored(&follower.telemetry, "replayed"), faulty.calls()), (3.0, 1));
}

#[tokio::test]
async fn a_batch_after_a_refused_one_is_requested_again() {
    let faulty = FaultyServer::starts(vec![batch("b", 0, 2), b"rubbish".to_vec(), batch("b", 4, 5)]).await;
    let follower = TestFollower::follows(vec![member(1, faulty.address)]).await;
    eventually(|| faulty.calls() >= 2).await;
    assert!(follower.stream().unwrap().upto < 5, "the cursor did not pass what was missing");
}

#[tokio::test]
async fn a_reply_beyond_all_bounds_is_not_read() {
    let faulty = FaultyServer::starts(vec![vec![1; codec::BATCH_BYTES_MAX + 65]]).await;
    let follower = TestFollower::follows(vec![member(1, faulty.address)]).await;
    eventually(|| ignored(&follower.telemetry, "malformed") >= 3.0 && follower.is_down_because("it sent 3")).await;
    assert!(follower.batches().is_empty());
    assert_eq!(faulty.calls(), 3, "each such reply ends its stream, and the third quarantines the peer");
}

#[tokio::test]
async fn a_stream_without_a_greeting_is_rejected() {
    let faulty =
        FaultyServer::starts_with(vec![FollowReply { batch: batch("b", 0, 5).into(), ..Default::default() }]).await;
    let follower = TestFollower::follows(vec![member(1, faulty.address)]).await;
    eventually(|| ignored(&follower.telemetry, "malformed") >= 1.0).await;
    assert!(follower.batches().is_empty());
}

#[tokio::test]
async fn a_socket_of_another_protocol_is_called_again_and_nothing_is_received() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let (counter, mut tasks) = (calls.clone(), JoinSet::new());
    tasks.spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            let _ = socket.write_all(&[0x16; 4_096]).await;
        }
    });
    let follower = TestFollower::follows(vec![member(1, address)]).await;
    eventually(|| calls.load(Ordering::Relaxed) >= 2 && follower.is_down_because("")).await;
    assert!(follower.batches().is_empty());
}

#[tokio::test]
async fn the_highest_number_is_accepted_once_and_then_quarantines_its_sender() {
    let faulty =
        FaultyServer::starts(vec![batch("b", 0, u64::MAX), batch("b", 1, 2), batch("b", 2, 3), batch("b", 3, 4)]).await;
    let follower = TestFollower::follows(vec![member(1, faulty.address)]).await;
    eventually(|| follower.is_down_because("had sent before")).await;
    assert_eq!(faulty.calls(), 1);
}
