//! Whether every replica, asked directly, sends the same request to the same engine.
//!
//! Must not know how replicas come to agree. Each is asked over ext-proc, as Envoy asks. No engine receives the
//! request: after the answer its stream is cut, or reports that the request was served.

use std::net::SocketAddr;
use std::time::Duration;

use murmuration_kit::ext_proc::{self, Call, Reply};
use murmuration_proto::ext_proc::ExternalProcessorClient;
use tokio::time::{sleep, timeout};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::report::Report;
use super::{Target, replicas};

/// How long one replica may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause before the first question. To estimate crowds, replicas remember dispatches for 10 s, and each measures for itself
/// how long news of them takes: after a workload of many requests at once, they may expect different crowds.
const CROWD_FORGOTTEN: Duration = Duration::from_millis(10_500);
/// Pause between two questions. A question changes state (a reservation and its release), which all replicas have
/// received by then, unless the machine is busy: see [`replicas::agree`].
const QUIET: Duration = Duration::from_millis(1_000);
/// Questions that every replica is asked.
const QUESTIONS: usize = 6;

/// What becomes of a request after the replica answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Its stream is cut: the replica releases the reservation and revokes the prompt's placement.
    GivenUp,
    /// The stream reports that it was served. Then all replicas may be asked the same at once, because none revokes a
    /// placement that another relies on.
    Served,
}

/// Asks every replica the same questions. Returns the share of questions that all answered alike; 1 where replicas
/// share nothing.
pub(super) async fn measure(target: &Target, report: &mut Report) -> f64 {
    let Some(replication) = &target.replication else { return 1.0 };
    let mut alike = 0;
    sleep(CROWD_FORGOTTEN).await;
    for question in 0..QUESTIONS {
        sleep(QUIET * 3 / 4).await;
        let mut answers = Vec::new();
        for &replica in &replication.ext_proc {
            sleep(QUIET / 4).await;
            replicas::agree(target).await;
            match timeout(PATIENCE, ask(replica, &replication.authority, &body(&target.model, question), Then::GivenUp))
                .await
            {
                Ok(Ok(destination)) => answers.push((replica, destination)),
                Ok(Err(why)) => report.fail(format!("asking the replica at {replica} directly: {why}")),
                Err(_) => report.fail(format!("asking the replica at {replica} directly: no answer in {PATIENCE:?}")),
            }
        }
        match answers.split_first() {
            Some(((_, first), others)) if others.iter().all(|(_, other)| other == first) => alike += 1,
            _ => report.fail(format!("question {question}: replicas do not agree: {answers:?}")),
        }
    }
    f64::from(alike) / QUESTIONS as f64
}

fn body(model: &str, question: usize) -> Vec<u8> {
    let text = format!("Question {question} to every replica. ").repeat(200);
    serde_json::json!({ "model": model, "prompt": text, "max_tokens": 1 }).to_string().into_bytes()
}

/// Where a replica sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// Addresses, the first one first.
    pub(super) destination: String,
    /// The engines that may compute its prompt, the best first, if another one than its destination does.
    pub(super) prefillers: Option<String>,
}

/// Where `replica`, asked directly over ext-proc as Envoy asks, sends a request with this body.
///
/// # Errors
/// A sentence that says why there is no answer.
pub(crate) async fn ask(replica: SocketAddr, authority: &str, body: &[u8], then: Then) -> Result<String, String> {
    place(replica, authority, body, then).await.map(|placed| placed.destination)
}

/// As [`ask`], with the engines of the other legs.
///
/// # Errors
/// A sentence that says why there is no answer.
pub(super) async fn place(replica: SocketAddr, authority: &str, body: &[u8], then: Then) -> Result<Placed, String> {
    let client = ExternalProcessorClient::new(connect(replica, authority).await?);
    let head = [(":method", "POST"), (":path", "/v1/completions"), ("content-type", "application/json")];
    let messages = vec![ext_proc::request_headers(&head, false), ext_proc::request_body(body, true)];
    let mut call = Call::open(client, messages).await.map_err(|why| why.to_string())?;
    let placed = match call.reply().await.map_err(|why| why.to_string())? {
        Reply::Sent { destination, prefillers, .. } => Placed { destination, prefillers },
        Reply::Refused(status, code) => return Err(format!("it refused with {status}, {code}")),
    };
    if then == Then::Served {
        let served = ext_proc::response_headers(&[(":status", "200"), ("content-type", "application/json")], false);
        for message in [served, ext_proc::response_body(b"{}", true)] {
            // A replica that has left the stream does not read this.
            call.send(message).await;
        }
        call.close();
        while let Ok(Some(_)) = call.receive().await {}
    }
    Ok(placed)
}

async fn connect(replica: SocketAddr, authority: &str) -> Result<Channel, String> {
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(authority))
        .domain_name(murmuration_actors::peers::PEER_NAME);
    let endpoint = Endpoint::from_shared(format!("https://{replica}")).map_err(|why| why.to_string())?;
    endpoint.tls_config(tls).map_err(|why| why.to_string())?.connect().await.map_err(|why| format!("{why:?}"))
}
