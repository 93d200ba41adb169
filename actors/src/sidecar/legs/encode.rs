//! The encode legs of a chat with media: all at once, spread over the encode engines, before its prompt is computed.
//!
//! Must not know the fields of a hand-off.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{HeaderValue, StatusCode, Uri};
use tokio::time::timeout;

use super::prefill::{Failure, read};
use crate::sidecar::answer::{Answer, refusal, verbatim};
use crate::sidecar::asked::Asked;
use crate::sidecar::connector::encoder;
use crate::sidecar::fields::Fields;
use crate::sidecar::settings::EcConnector;
use crate::sidecar::shared::{LegTimer, Shared};
use crate::sidecar::target::Target;

/// Encodes the media of a chat. Returns what further legs are told: encoders' parameters, or nothing.
///
/// # Errors
/// The client's answer, when an item could not be encoded. The legs of the others are cancelled.
pub(in crate::sidecar) async fn encode(
    shared: &Arc<Shared>,
    asked: &Asked,
    fields: &Fields<'_>,
    connector: EcConnector,
    encoders: &[Target],
) -> Result<Option<String>, Box<Answer>> {
    let items = encoder::items(fields);
    if items.len() > encoder::ITEMS_MAX {
        let why = format!("more than {} media items; send fewer in one request", encoder::ITEMS_MAX);
        return Err(Box::new(refusal(shared, StatusCode::BAD_REQUEST, "encode", why)));
    }
    let legs = items.iter().enumerate().map(|(nth, item)| {
        let target = &encoders[nth % encoders.len()];
        leg(shared, asked, connector, (target, nth), encoder::encode_body(fields, item))
    });
    let deadline = shared.settings.deadlines.encode;
    let answers = match timeout(deadline, try_join_all(legs)).await {
        Ok(Ok(answers)) => answers,
        Ok(Err(failure)) => return Err(Box::new(failed(shared, failure))),
        Err(_) => {
            let why = "the encode engines did not answer in time".to_owned();
            return Err(Box::new(refusal(shared, StatusCode::GATEWAY_TIMEOUT, "encode", why)));
        }
    };
    Ok(match connector {
        EcConnector::Example => None,
        EcConnector::Nixl => encoder::merged(answers.iter().map(|answer| &answer[..])),
    })
}

async fn leg(
    shared: &Arc<Shared>,
    asked: &Asked,
    connector: EcConnector,
    (target, nth): (&Target, usize),
    body: String,
) -> Result<Bytes, Failure> {
    let timer = LegTimer::start(shared, connector.as_str(), "encode", target);
    let mut request = asked.leg(body);
    *request.uri_mut() = Uri::from_static("/v1/chat/completions");
    let id = format!("{}-enc-{nth}", asked.id.to_str().unwrap_or_default());
    if let Ok(id) = HeaderValue::from_str(&id) {
        request.headers_mut().insert(murmuration_proto::names::REQUEST_ID, id);
    }
    let (deadline, limit) = (shared.settings.deadlines.encode, shared.settings.limits.answer_bytes);
    let (answer, outcome) = read(target, shared.encode.whole(target, request, deadline, limit).await);
    timer.end(outcome);
    answer
}

fn failed(shared: &Shared, failure: Failure) -> Answer {
    let why = match failure {
        Failure::Refused(answer) => return verbatim(answer),
        Failure::Status(answer) => format!("an encode engine answered {}", answer.status()),
        Failure::Leg(target, error) => format!("the encode engine {target}: {error}"),
        Failure::NotAsked(why) => why,
    };
    refusal(shared, StatusCode::BAD_GATEWAY, "encode", why)
}
