//! Connectors whose prefill leg ends before the decode leg begins: `nixlv2`, `offloading` and `shared-storage`.
//!
//! Must not know the fields of a hand-off.

use std::collections::VecDeque;
use std::sync::Arc;

use http::StatusCode;
use murmuration::event::SidecarEvent;

use super::prefill::{Done, failed, prefill};
use super::{cache_first, decode};
use crate::sidecar::answer::Answer;
use crate::sidecar::asked::Asked;
use crate::sidecar::connector::offloading::{self, Tier};
use crate::sidecar::connector::{nixl, sequences, shared_storage};
use crate::sidecar::fields::Fields;
use crate::sidecar::settings::{KvConnector, OnPrefillFailure};
use crate::sidecar::shared::Shared;
use crate::sidecar::target::Target;

/// Whether a request can't be handed over because it makes several sequences. It is then served by the decode engine.
pub(in crate::sidecar) fn is_undivided(shared: &Shared, connector: &'static str, fields: &Fields<'_>) -> bool {
    let several = sequences::has_several(fields);
    if several {
        shared.emit(SidecarEvent::HandedOver { connector, result: "several-sequences" });
    }
    several
}

/// `nixlv2`. `source` is an engine that the prefill engine may pull a prefix from.
pub(in crate::sidecar) async fn nixl(
    shared: &Arc<Shared>,
    asked: &Asked,
    fields: &Fields<'_>,
    prefillers: &[Target],
    source: Option<&Target>,
) -> Answer {
    let connector = KvConnector::NixlV2.as_str();
    if is_undivided(shared, connector, fields) {
        return decode::alone(shared, asked, connector, fields.text()).await;
    }
    let body = |target: &Target| nixl::prefill_body(fields, asked.api, pull(shared, source, target).as_deref());
    let done = match prefill(shared, asked, connector, prefillers, body).await {
        Ok(done) => done,
        Err(failure) => return failed(shared, asked, KvConnector::NixlV2, failure, fields.text()).await,
    };
    let prefilled = nixl::read_answer(&done.answer);
    if let Some(engine) = &prefilled.engine_id {
        shared.answered_as(&done.target, engine);
    }
    let other_version = is_of_another_version(shared, asked, prefilled.fingerprint.as_deref()).await;
    let cached_tokens = prefilled.cached_tokens;
    let (params, result) = prefilled.hand_off(other_version, is_stale(shared, &done));
    shared.emit(SidecarEvent::HandedOver { connector, result });
    let cached = params.is_some().then_some(cached_tokens);
    let body = nixl::decode_body(fields, params.as_deref());
    let whole = params.is_some().then(|| nixl::decode_body(fields, None));
    decoded(shared, asked, connector, (body, whole), cached).await
}

/// `offloading`.
pub(in crate::sidecar) async fn offloading(
    shared: &Arc<Shared>,
    asked: &Asked,
    fields: &Fields<'_>,
    prefillers: &[Target],
    source: Option<&Target>,
) -> Answer {
    let connector = KvConnector::Offloading.as_str();
    if is_undivided(shared, connector, fields) {
        return decode::alone(shared, asked, connector, fields.text()).await;
    }
    let id = shared.id();
    let body =
        |target: &Target| offloading::prefill_body(fields, asked.api, &id, pull(shared, source, target).as_deref());
    let done = match prefill(shared, asked, connector, prefillers, body).await {
        Ok(done) => done,
        Err(failure) => return failed(shared, asked, KvConnector::Offloading, failure, fields.text()).await,
    };
    let stale = is_stale(shared, &done);
    shared.emit(SidecarEvent::HandedOver { connector, result: if stale { "stale" } else { "ok" } });
    if stale {
        return decode::alone(shared, asked, connector, fields.text()).await;
    }
    let body = offloading::decode_body(fields, &id, &done.target, tier(shared));
    decoded(shared, asked, connector, (body, Some(fields.text())), None).await
}

/// `shared-storage`.
pub(in crate::sidecar) async fn shared_storage(
    shared: &Arc<Shared>,
    asked: &Asked,
    fields: &Fields<'_>,
    prefillers: &[Target],
) -> Answer {
    let connector = KvConnector::SharedStorage.as_str();
    if shared_storage::asks_decode_first(fields)
        && let Some(answer) = cache_first::try_decode(shared, asked, connector, fields).await
    {
        return answer;
    }
    let body = |_: &Target| shared_storage::prefill_body(fields, asked.api);
    let whole = shared_storage::decode_body(fields);
    match prefill(shared, asked, connector, prefillers, body).await {
        Ok(_) => {
            shared.emit(SidecarEvent::HandedOver { connector, result: "ok" });
            decode::alone(shared, asked, connector, whole).await
        }
        Err(failure) => failed(shared, asked, KvConnector::SharedStorage, failure, whole).await,
    }
}

/// A request that the decode engine serves, and for which it pulls a prefix from `source`.
pub(in crate::sidecar) async fn pulled(
    shared: &Arc<Shared>,
    asked: &Asked,
    fields: &Fields<'_>,
    source: &Target,
) -> Answer {
    let pull = offloading::pull(&shared.id(), source, tier(shared));
    let body = nixl::decode_body(fields, Some(&format!("{{{pull}}}")));
    decoded(shared, asked, "none", (body, Some(fields.text())), None).await
}

/// The decode leg with a hand-off. When the engine fails at it, before any answer, it may serve `whole` instead: the
/// request without the hand-off.
async fn decoded(
    shared: &Arc<Shared>,
    asked: &Asked,
    connector: &'static str,
    (body, whole): (String, Option<String>),
    cached: Option<Option<u64>>,
) -> Answer {
    let begun = match decode::begin(shared, &asked.decoder, connector, asked.decode(body)).await {
        Ok(begun) => begun,
        Err(error) => return decode::failed(shared, &asked.decoder, &error),
    };
    let failed = begun.answer.status() == StatusCode::INTERNAL_SERVER_ERROR;
    if let Some(whole) = whole.filter(|_| failed && shared.settings.on_prefill_failure == OnPrefillFailure::Decode) {
        begun.timer.end("status");
        shared.emit(SidecarEvent::FellBack { connector, stage: "decode" });
        return decode::alone(shared, asked, connector, whole).await;
    }
    decode::pass(shared, begun, VecDeque::new(), cached)
}

/// Whether the prefill engine may have freed the blocks by now. A late hand-off gets other blocks: wrong text.
fn is_stale(shared: &Shared, done: &Done) -> bool {
    nixl::is_late(done.not_before.elapsed(), shared.settings.deadlines.handoff)
}

/// Whether the prefill engine is a vLLM of another version than the decode engine. The layout of blocks is not the same
/// in all versions.
async fn is_of_another_version(shared: &Shared, asked: &Asked, fingerprint: Option<&str>) -> bool {
    let Some(fingerprint) = fingerprint.filter(|fingerprint| fingerprint.starts_with("vllm-")) else { return false };
    let version = shared.versions.of(&shared.decode, &asked.decoder).await;
    version.is_some_and(|version| nixl::is_another_version(fingerprint, &version))
}

/// What makes `prefiller` pull a prefix from `source`, which is another engine.
fn pull(shared: &Shared, source: Option<&Target>, prefiller: &Target) -> Option<String> {
    let source = source.filter(|source| *source != prefiller)?;
    Some(offloading::pull(&shared.id(), source, tier(shared)))
}

fn tier(shared: &Shared) -> Tier {
    let settings = &shared.settings;
    Tier { port: settings.p2p_port, base: settings.port, ranks: settings.ranks }
}
