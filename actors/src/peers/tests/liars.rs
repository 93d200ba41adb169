//! Servers that lie, babble or repeat themselves.

use std::sync::atomic::{AtomicUsize, Ordering};

use murmuration::replication::codec;
use murmuration_proto::peer::{FollowReply, FollowRequest, Replication, ReplicationServer};
use tokio::io::AsyncWriteExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::async_trait;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use super::*;

/// Says the same replies to whoever calls, and then keeps the stream open.
struct Liar {
    replies: Vec<FollowReply>,
    calls: Arc<AtomicUsize>,
}

struct Lying {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

#[async_trait]
impl Replication for Liar {
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

impl Lying {
    async fn starts(batches: Vec<Vec<u8>>) -> Self {
        let greeting = FollowReply { incarnation: 1, head: 5, ..FollowReply::default() };
        let batches = batches.into_iter().map(|bytes| FollowReply { batch: bytes.into(), ..FollowReply::default() });
        Self::starts_with([greeting].into_iter().chain(batches).collect()).await
    }

    async fn starts_with(replies: Vec<FollowReply>) -> Self {
        let subscription = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, calls) = (subscription.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let server = ReplicationServer::new(Liar { replies, calls: calls.clone() }, 1_024);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let router = tonic::transport::Server::builder().add_service(server);
            router.serve_with_incoming(TcpIncoming::from(subscription)).await.unwrap();
        });
        Self { address, calls, _tasks: tasks }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

fn batch(origin: &str, after: u64, upto: u64) -> Vec<u8> {
    let (origin, incarnation) = (ReplicaId(origin.into()), Incarnation(1));
    codec::encode(&Batch { origin, incarnation, after, upto, facts: Vec::new() }).unwrap()
}

#[tokio::test]
async fn a_peer_that_sends_rubbish_three_times_is_counted_and_left_alone() {
    let lying = Lying::starts(vec![b"rubbish".to_vec(), vec![1; 5_000], vec![1], batch("b", 0, 5)]).await;
    let hearer = Hearer::follows(vec![member(1, lying.address)]).await;
    eventually(|| hearer.is_down_because("it sent 3")).await;
    assert_eq!(
        (ignored(&hearer.telemetry, "malformed") + ignored(&hearer.telemetry, "too-new"), lying.calls()),
        (3.0, 1)
    );
    assert!(hearer.batches().is_empty(), "nothing of it was believed");
}

#[tokio::test]
async fn a_peer_that_speaks_for_another_is_counted_and_left_alone() {
    let lying = Lying::starts(vec![batch("c", 0, 1), batch("hearer", 0, 1), batch("", 0, 1)]).await;
    let hearer = Hearer::follows(vec![member(1, lying.address)]).await;
    eventually(|| hearer.is_down_because("not its own")).await;
    assert_eq!(
        (ignored(&hearer.telemetry, "not-the-origin") + ignored(&hearer.telemetry, "malformed"), lying.calls()),
        (3.0, 1)
    );
    assert!(hearer.batches().is_empty());
}

#[tokio::test]
async fn a_peer_that_repeats_itself_is_counted_and_left_alone() {
    let once = batch("b", 0, 5);
    let lying = Lying::starts(vec![once.clone(), once.clone(), once.clone(), once]).await;
    let hearer = Hearer::follows(vec![member(1, lying.address)]).await;
    eventually(|| hearer.is_down_because("had sent before")).await;
    assert_eq!((ignored(&hearer.telemetry, "replayed"), lying.calls()), (3.0, 1));
}

#[tokio::test]
async fn a_batch_behind_one_that_was_refused_is_asked_for_again() {
    let lying = Lying::starts(vec![batch("b", 0, 2), b"rubbish".to_vec(), batch("b", 4, 5)]).await;
    let hearer = Hearer::follows(vec![member(1, lying.address)]).await;
    eventually(|| lying.calls() >= 2).await;
    assert!(hearer.stream().unwrap().upto < 5, "the cursor did not pass what was missing");
}

#[tokio::test]
async fn a_reply_beyond_all_bounds_is_not_read() {
    let lying = Lying::starts(vec![vec![1; codec::BATCH_BYTES_MAX + 65]]).await;
    let hearer = Hearer::follows(vec![member(1, lying.address)]).await;
    eventually(|| ignored(&hearer.telemetry, "malformed") >= 3.0 && hearer.is_down_because("it sent 3")).await;
    assert!(hearer.batches().is_empty());
    assert_eq!(lying.calls(), 3, "each such reply ends its stream, and three of them the patience");
}

#[tokio::test]
async fn a_stream_without_a_greeting_is_not_heard() {
    let lying = Lying::starts_with(vec![FollowReply { batch: batch("b", 0, 5).into(), ..Default::default() }]).await;
    let hearer = Hearer::follows(vec![member(1, lying.address)]).await;
    eventually(|| ignored(&hearer.telemetry, "malformed") >= 1.0).await;
    assert!(hearer.batches().is_empty());
}

#[tokio::test]
async fn a_socket_that_speaks_something_else_is_called_again_and_heard_of_nothing() {
    let subscription = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = subscription.local_addr().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let (counter, mut tasks) = (calls.clone(), JoinSet::new());
    tasks.spawn(async move {
        while let Ok((mut socket, _)) = subscription.accept().await {
            counter.fetch_add(1, Ordering::Relaxed);
            let _ = socket.write_all(&[0x16; 4_096]).await;
        }
    });
    let hearer = Hearer::follows(vec![member(1, address)]).await;
    eventually(|| calls.load(Ordering::Relaxed) >= 2 && hearer.is_down_because("")).await;
    assert!(hearer.batches().is_empty());
}

#[tokio::test]
async fn an_endless_number_is_believed_once_and_costs_the_liar_its_voice() {
    let lying =
        Lying::starts(vec![batch("b", 0, u64::MAX), batch("b", 1, 2), batch("b", 2, 3), batch("b", 3, 4)]).await;
    let hearer = Hearer::follows(vec![member(1, lying.address)]).await;
    eventually(|| hearer.is_down_because("had sent before")).await;
    assert_eq!(lying.calls(), 1);
}
