//! The hostile clients: names of many MiB, labels that never repeat, bodies of a million tiny values, slow bodies.
//!
//! Must not know what else the replica serves. The outcomes of these requests are counted; none is a failure of the
//! bench.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use murmuration_kit::ext_proc::{request_body, request_chunks};
use murmuration_proto::ext_proc::{ExternalProcessorClient, ProcessingRequest, Response};
use murmuration_proto::names;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::Failure;
use crate::args::HostileArgs;
use crate::ext_proc::message;
use crate::ext_proc::paced::at_rate;
use crate::server::connect;

/// Bytes of a model's name.
const NAME_BYTES: usize = 20 << 20;
/// Bytes of a body of tiny values.
const VALUES_BYTES: usize = 60 << 20;
/// Time between two bytes of a slow body.
const TRICKLE: Duration = Duration::from_secs(1);
/// Number of made-up models. Each request has a new flow, so no two requests have the same labels.
const MODELS: u64 = 1_000;

/// Outcomes of hostile requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Arc<[AtomicU64; 3]>);

/// The outcome of one request.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Refused,
    Served,
    Cut,
}

type Client = ExternalProcessorClient<Channel>;

// === impl Tally ===

impl Tally {
    /// How many were refused with a status, sent on to an engine, and cut without a reply.
    pub(super) fn told(&self) -> [u64; 3] {
        [0, 1, 2].map(|at| self.0[at].load(Ordering::Relaxed))
    }

    fn count(&self, outcome: Outcome) {
        self.0[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Starts all attacks; they run until `attacks` is dropped or aborted.
pub(super) async fn begin(
    args: &HostileArgs,
    server: SocketAddr,
    tally: &Tally,
    attacks: &mut JoinSet<()>,
) -> Result<(), Failure> {
    let name = Arc::new(format!(r#"{{"model":"{}","messages":[]}}"#, "m".repeat(NAME_BYTES)).into_bytes());
    let values =
        Arc::new(format!(r#"{{"model":"base","messages":[{}{{}}]}}"#, "{},".repeat(VALUES_BYTES / 3)).into_bytes());
    let (named, valued) = (connect(server).await?, connect(server).await?);
    for (client, clients, body) in [(named, args.names, name), (valued, args.values, values)] {
        for _ in 0..clients {
            attacks.spawn(repeat_body(client.clone(), body.clone(), tally.clone()));
        }
    }
    attacks.spawn(labels(connect(server).await?, args.labels, tally.clone()));
    let client = connect(server).await?;
    for _ in 0..args.slow {
        attacks.spawn(trickle(client.clone(), tally.clone()));
    }
    Ok(())
}

/// Sends the same body again as soon as the last request has ended.
async fn repeat_body(client: Client, body: Arc<Vec<u8>>, tally: Tally) {
    loop {
        let (outbound, messages) = mpsc::channel(4);
        let body = body.clone();
        let sent = async move {
            let _ = outbound.send(message::request_headers(0, body.len())).await;
            for chunk in request_chunks(&body) {
                if outbound.send(chunk).await.is_err() {
                    return;
                }
            }
        };
        let (outcome, ()) = tokio::join!(outcome(client.clone(), messages), sent);
        tally.count(outcome);
    }
}

/// Sends small requests whose labels never repeat.
async fn labels(client: Client, rate: u32, tally: Tally) {
    let request = |number: u64| {
        let (client, tally) = (client.clone(), tally.clone());
        async move {
            let (outbound, messages) = mpsc::channel(2);
            let (model, flow) = (number % MODELS, format!("flow-{number}"));
            let body = format!(r#"{{"model":"made-up-{model}","messages":[{{"role":"user","content":"x"}}]}}"#);
            let head = message::request_headers_and(number, body.len(), &[(names::FAIRNESS_ID[0], &flow)]);
            let _ = outbound.send(head).await;
            let _ = outbound.send(request_body(body.as_bytes(), true)).await;
            tally.count(outcome(client, messages).await);
        }
    };
    at_rate(rate, request).await;
}

/// Sends a body that never completes, and the next one when it is refused.
async fn trickle(client: Client, tally: Tally) {
    loop {
        let (outbound, messages) = mpsc::channel(1);
        let sending = async move {
            let _ = outbound.send(message::request_headers(0, 1 << 20)).await;
            while outbound.send(request_body(b"{", false)).await.is_ok() {
                sleep(TRICKLE).await;
            }
        };
        let outcome = tokio::select! {
            outcome = outcome(client.clone(), messages) => outcome,
            // The receiving end was dropped first.
            () = sending => Outcome::Cut,
        };
        tally.count(outcome);
        sleep(TRICKLE).await;
    }
}

/// The outcome of a request with these messages, judged by its first reply.
async fn outcome(mut client: Client, messages: mpsc::Receiver<ProcessingRequest>) -> Outcome {
    let Ok(opened) = client.process(ReceiverStream::new(messages)).await else { return Outcome::Cut };
    match opened.into_inner().message().await {
        Ok(Some(reply)) => match reply.response {
            Some(Response::ImmediateResponse(_)) => Outcome::Refused,
            _ => Outcome::Served,
        },
        _ => Outcome::Cut,
    }
}
