//! A prefill leg that ends before the decode leg begins: engines of the list, one after the other, until one answers.
//!
//! Must not know what is handed over.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use murmuration::event::SidecarEvent;
use tokio::time::{Instant, sleep};

use super::decode;
use crate::sidecar::answer::{Answer, refusal, verbatim};
use crate::sidecar::asked::Asked;
use crate::sidecar::attempts::{Attempt, Attempts};
use crate::sidecar::client::LegError;
use crate::sidecar::settings::{KvConnector, OnPrefillFailure};
use crate::sidecar::shared::{LegTimer, Shared};
use crate::sidecar::target::Target;

/// How often a waiting leg notes that its answer has not come.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// A prefill that was done.
pub(in crate::sidecar) struct Done {
    /// The engine's answer.
    pub(in crate::sidecar) answer: Bytes,
    /// The engine.
    pub(in crate::sidecar) target: Target,
    /// The last moment at which the answer had not come. The engine's lease on the blocks began later. While this process
    /// stands still an answer may wait in its socket, so the moment at which it is read would be too late.
    pub(in crate::sidecar) not_before: Instant,
}

/// Why no engine of the list prefilled.
pub(in crate::sidecar) enum Failure {
    /// The request is wrong: any engine would say so.
    Refused(Response<Bytes>),
    /// The last engine failed, and said how.
    Status(Response<Bytes>),
    /// The last engine did not answer.
    Leg(Target, LegError),
    /// No engine was asked.
    NotAsked(String),
}

/// Asks the engines of `targets` until one answers. `body` is the leg for one of them.
pub(in crate::sidecar) async fn prefill(
    shared: &Arc<Shared>,
    asked: &Asked,
    connector: &'static str,
    targets: &[Target],
    body: impl Fn(&Target) -> String,
) -> Result<Done, Failure> {
    let mut attempts = attempts(shared, targets);
    let mut last = Failure::NotAsked("there is no prefill engine".to_owned());
    while let Some(attempt) = next(shared, &mut attempts).await {
        let target = &targets[attempt.target];
        match one(shared, asked, connector, target, body(target)).await {
            Ok(done) => return Ok(done),
            Err(failure @ Failure::Refused(_)) => return Err(failure),
            Err(failure) => {
                attempts.failed(attempt, failure.may_pass());
                last = failure;
            }
        }
    }
    Err(last)
}

/// The attempts of a request at these engines.
pub(in crate::sidecar) fn attempts(shared: &Shared, targets: &[Target]) -> Attempts {
    let drawn = (shared.ids.generate() % targets.len().max(1) as u128) as usize;
    let first = if shared.settings.sampling { drawn } else { 0 };
    Attempts::new(targets.len(), first, shared.settings.retries)
}

/// The next attempt, after its pause.
pub(in crate::sidecar) async fn next(shared: &Shared, attempts: &mut Attempts) -> Option<Attempt> {
    let attempt = attempts.next()?;
    if attempt.pause {
        sleep(shared.settings.backoff).await;
    }
    Some(attempt)
}

async fn one(
    shared: &Arc<Shared>,
    asked: &Asked,
    connector: &'static str,
    target: &Target,
    body: String,
) -> Result<Done, Failure> {
    let timer = LegTimer::start(shared, connector, "prefill", target);
    let (deadline, limit) = (shared.settings.deadlines.prefill, shared.settings.limits.answer_bytes);
    let mut leg = pin!(shared.prefill.whole(target, asked.leg(body), deadline, limit));
    let (mut not_before, mut looked) = (Instant::now(), Instant::now());
    let mut stood_still = false;
    let answered = loop {
        tokio::select! {
            biased;
            answered = &mut leg => break answered,
            () = sleep(LOOK_INTERVAL) => {
                // After a standstill looks may come before the answer that waited, so they count no more.
                stood_still |= looked.elapsed() > 2 * LOOK_INTERVAL;
                if !stood_still {
                    not_before = std::mem::replace(&mut looked, Instant::now());
                }
            }
        }
    };
    let (answer, outcome) = read(target, answered);
    timer.end(outcome);
    answer.map(|answer| Done { answer, target: target.clone(), not_before })
}

/// What an engine's answer means, and its word for metrics.
pub(in crate::sidecar) fn read(
    target: &Target,
    answered: Result<Response<Bytes>, LegError>,
) -> (Result<Bytes, Failure>, &'static str) {
    match answered {
        Ok(answer) if answer.status().is_success() => (Ok(answer.into_body()), "ok"),
        Ok(answer) if is_the_requests_fault(answer.status()) => (Err(Failure::Refused(answer)), "refused"),
        Ok(answer) => (Err(Failure::Status(answer)), "status"),
        Err(error) => {
            let outcome = error.as_str();
            (Err(Failure::Leg(target.clone(), error)), outcome)
        }
    }
}

/// Whether another engine would answer the same, because the status is about the request's form, length or content. Other
/// statuses of clients are about an engine as well: a key that it does not know (401, 403), a model that it does not have
/// (404), a state that it is in.
fn is_the_requests_fault(status: StatusCode) -> bool {
    [400, 406, 411, 413, 414, 415, 416, 417, 422, 431].contains(&status.as_u16())
}

/// What the client gets when no engine prefilled: an error, or the decode engine's answer to `whole`, as configured.
pub(in crate::sidecar) async fn failed(
    shared: &Arc<Shared>,
    asked: &Asked,
    connector: KvConnector,
    failure: Failure,
    whole: String,
) -> Answer {
    // A decode engine of SGLang computes no prompts.
    let can_compute = connector != KvConnector::Sglang;
    let decodes = shared.settings.on_prefill_failure == OnPrefillFailure::Decode && can_compute;
    let (target, error) = match failure {
        Failure::Refused(answer) => return verbatim(answer),
        _ if decodes => {
            shared.emit(SidecarEvent::FellBack { connector: connector.as_str(), stage: "prefill" });
            return decode::alone(shared, asked, connector.as_str(), whole).await;
        }
        Failure::Status(answer) => {
            let why = format!("a prefill engine answered {}", answer.status());
            shared.emit(SidecarEvent::Refused { code: "prefill", why });
            return verbatim(answer);
        }
        Failure::NotAsked(why) => return refusal(shared, StatusCode::BAD_GATEWAY, "prefill", why),
        Failure::Leg(target, error) => (target, error),
    };
    let timeout = error == LegError::Timeout;
    let status = if timeout { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::BAD_GATEWAY };
    refusal(shared, status, "prefill", format!("the prefill engine {target}: {error}"))
}

// === impl Failure ===

impl Failure {
    /// Whether the same engine may serve the request a little later.
    pub(in crate::sidecar) fn may_pass(&self) -> bool {
        match self {
            Self::Refused(_) | Self::NotAsked(_) => false,
            Self::Leg(_, error) => *error != LegError::TooLarge,
            Self::Status(answer) => [408, 429, 502, 503, 504].contains(&answer.status().as_u16()),
        }
    }
}
