//! Connectors whose legs run at once: `mooncake` and `sglang`. The decode engine waits for the prefill engine's blocks.
//!
//! A decode leg whose prefill leg failed would wait for minutes, and so would a prefill leg whose decode leg failed. So
//! either leg is cancelled when the other fails, and the client's answer begins only when the prefill leg is done, or when
//! the decode engine has sent data, which proves that it waits no more. Must not know the fields of a hand-off.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Either, Full};
use murmuration::event::SidecarEvent;

use super::decode::{self, Begun};
use super::opening::Opening;
use super::prefill::{self, Failure};
use crate::sidecar::answer::Answer;
use crate::sidecar::asked::Asked;
use crate::sidecar::client::{LegError, RequestBody};
use crate::sidecar::connector::mooncake::{self, Engine};
use crate::sidecar::connector::sglang;
use crate::sidecar::fields::Fields;
use crate::sidecar::headers::RANK;
use crate::sidecar::settings::KvConnector;
use crate::sidecar::shared::{LegTimer, Shared};
use crate::sidecar::target::Target;

/// How long a bootstrap server may take to list its engines.
const BOOTSTRAP_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest list.
const BOOTSTRAP_BYTES_MAX: usize = 1 << 20;

/// Both legs for one prefill engine.
struct Pair {
    prefill: Request<RequestBody>,
    decode: Request<RequestBody>,
}

/// `mooncake` or `sglang`.
pub(in crate::sidecar) async fn run(
    shared: &Arc<Shared>,
    asked: &Asked,
    fields: &Fields<'_>,
    connector: KvConnector,
    prefillers: &[Target],
) -> Answer {
    let name = connector.as_str();
    let mut attempts = prefill::attempts(shared, prefillers);
    let mut last = Failure::NotAsked("there is no prefill engine".to_owned());
    while let Some(attempt) = prefill::next(shared, &mut attempts).await {
        let target = &prefillers[attempt.target];
        let pair = match connector {
            KvConnector::Mooncake => mooncake_pair(shared, asked, fields, target).await,
            _ => Ok(sglang_pair(shared, asked, fields, target)),
        };
        let tried = match pair {
            Ok(pair) => try_both(shared, asked, name, target, pair).await,
            Err(failure) => Err(failure),
        };
        match tried {
            Ok(answer) => return answer,
            Err(failure) => {
                let refused = matches!(failure, Failure::Refused(_));
                attempts.failed(attempt, failure.may_pass());
                last = failure;
                if refused {
                    break;
                }
            }
        }
    }
    prefill::failed(shared, asked, connector, last, fields.text()).await
}

/// Runs both legs; an error when the prefill leg failed.
async fn try_both(
    shared: &Arc<Shared>,
    asked: &Asked,
    connector: &'static str,
    target: &Target,
    pair: Pair,
) -> Result<Answer, Failure> {
    let mut prefilling = Box::pin(prefill_leg(shared.clone(), connector, target.clone(), pair.prefill));
    let mut beginning = pin!(decode::begin(shared, &asked.decoder, connector, pair.decode));
    let mut begun: Option<Begun> = None;
    let mut prefilled = false;
    let mut opening = Opening::new(false);
    while !(prefilled && begun.is_some()) {
        tokio::select! {
            answered = &mut prefilling, if !prefilled => {
                // An error drops the decode leg.
                answered?;
                prefilled = true;
            }
            head = &mut beginning, if begun.is_none() => match head {
                Ok(answered) if answered.answer.status().is_success() => {
                    opening = Opening::new(decode::is_stream(answered.answer.headers()));
                    begun = Some(answered);
                }
                // The decode leg failed. Leaving drops the prefill leg.
                Ok(refused) => return Ok(decode::pass(shared, refused, VecDeque::new(), None)),
                Err(error) => return Ok(decode::failed(shared, &asked.decoder, &error)),
            },
            piece = data(&mut begun), if begun.is_some() => match piece {
                Ok(Some(piece)) if opening.says_nothing(&piece) => {}
                Ok(_) => break,
                Err(error) => {
                    if let Some(begun) = begun.take() {
                        begun.timer.end(error.as_str());
                    }
                    return Ok(decode::failed(shared, &asked.decoder, &error));
                }
            },
        }
    }
    shared.emit(SidecarEvent::HandedOver { connector, result: "ok" });
    let Some(begun) = begun else {
        return Err(Failure::NotAsked("the decode leg ended without an answer".to_owned()));
    };
    let answer = decode::pass(shared, begun, opening.into_pieces(), None);
    if prefilled {
        return Ok(answer);
    }
    // The decode engine has what it needs, and the prefill engine is about to answer: it is not cut off.
    let rest = Box::pin(async move { drop(prefilling.await) });
    Ok(answer.map(|body| body.beside(rest)))
}

async fn prefill_leg(
    shared: Arc<Shared>,
    connector: &'static str,
    target: Target,
    request: Request<RequestBody>,
) -> Result<Bytes, Failure> {
    let timer = LegTimer::start(&shared, connector, "prefill", &target);
    let (deadline, limit) = (shared.settings.deadlines.prefill, shared.settings.limits.answer_bytes);
    let (answer, outcome) = prefill::read(&target, shared.prefill.whole(&target, request, deadline, limit).await);
    timer.end(outcome);
    answer
}

/// The next piece of the decode engine's answer; `None` at its end.
async fn data(begun: &mut Option<Begun>) -> Result<Option<Bytes>, LegError> {
    let Some(begun) = begun else { return Ok(None) };
    let body = begun.answer.body_mut();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| LegError::Broken(error.to_string()))?;
        if let Ok(piece) = frame.into_data() {
            return Ok(Some(piece));
        }
    }
    Ok(None)
}

fn sglang_pair(shared: &Shared, asked: &Asked, fields: &Fields<'_>, target: &Target) -> Pair {
    let room = sglang::room(shared.ids.generate());
    let body = sglang::body(fields, &target.host, shared.settings.sglang_port, room);
    Pair { prefill: asked.leg(body.clone()), decode: asked.decode(body) }
}

async fn mooncake_pair(
    shared: &Arc<Shared>,
    asked: &Asked,
    fields: &Fields<'_>,
    target: &Target,
) -> Result<Pair, Failure> {
    let bootstrap = Target { host: target.host.clone(), port: shared.settings.mooncake_port };
    let engine = engine(shared, &bootstrap).await?;
    shared.answered_as(&bootstrap, &engine.id);
    let transfer = format!("xfer-{}", shared.id());
    let mut prefill = asked.leg(mooncake::prefill_body(fields, asked.api, &transfer));
    // The engine whose id the decode leg is given must be the one that prefills.
    if let Ok(rank) = HeaderValue::from_str(&engine.rank) {
        prefill.headers_mut().insert(RANK, rank);
    }
    let address = format!("http://{bootstrap}");
    let decode = asked.decode(mooncake::decode_body(fields, &transfer, &address, &engine));
    Ok(Pair { prefill, decode })
}

/// An engine of a prefill server. It is asked for each request: the id of an engine that was restarted is another one, and
/// a decode leg with the former id would wait for ever.
async fn engine(shared: &Shared, bootstrap: &Target) -> Result<Engine, Failure> {
    let mut request: Request<RequestBody> = Request::new(Either::Left(Full::default()));
    *request.uri_mut() = http::Uri::from_static("/query");
    let deadline = BOOTSTRAP_TIMEOUT.min(shared.settings.deadlines.prefill);
    let answered = shared.bootstrap.whole(bootstrap, request, deadline, BOOTSTRAP_BYTES_MAX).await;
    let (answer, _) = prefill::read(bootstrap, answered);
    let answer = answer.map_err(|failure| match failure {
        // Not the client's request was refused.
        Failure::Refused(_) => Failure::NotAsked(format!("no bootstrap server answers at {bootstrap}")),
        other => other,
    })?;
    let mut engines = mooncake::read_engines(&answer);
    if engines.is_empty() {
        let why = "it lists no engine; is --mooncake-bootstrap-port right?".to_owned();
        return Err(Failure::Leg(bootstrap.clone(), LegError::Broken(why)));
    }
    let drawn = (shared.ids.generate() % engines.len() as u128) as usize;
    Ok(engines.swap_remove(drawn))
}
