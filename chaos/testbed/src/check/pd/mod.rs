//! The checker behind `testbed --pd 2x2 --check`: requests through Envoy to a tier whose engines have roles.
//!
//! Must not know how a tier is started. `prompts` defines the requests, `asked` sends them and compares each answer with
//! that of an engine outside of the tier (`reference`). `legs` compares what engines did with what pickers decided,
//! `pairs` the decisions of all replicas, `shares` what they believe to be open. `spoofed` sends what clients must not
//! send, `killed` ends engines.
//!
//! An emulated engine answers from the KV that it really had. So an answer is the checksum of its hand-off.

mod asked;
mod killed;
mod legs;
mod load;
mod pairs;
mod prompts;
mod reference;
mod report;
mod shares;
mod spoofed;

use std::net::SocketAddr;
use std::sync::Arc;

use murmuration_engine_sim::hand_off::Role;
use murmuration_kit::client::Client;

pub use report::PdReport;

use super::report::Report;
use super::workload::Api;
use super::{Target, replicas};
use asked::Asker;
use load::Load;
use prompts::{LONG_BYTES, SHORT_BYTES};
use reference::Reference;

/// An engine of the tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PdEngine {
    /// Its name in the pool.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Where it serves itself, without its sidecar.
    pub address: SocketAddr,
}

/// A tier whose engines have roles.
#[derive(Clone, Debug)]
pub struct PdTarget {
    /// Envoy and the replicas.
    pub tier: Target,
    /// The engines.
    pub engines: Vec<PdEngine>,
    /// Whether sidecars let the engine that decodes compute a prompt that no other one computes. Otherwise the client
    /// gets an error.
    pub falls_back: bool,
    /// Whether replicas see answers. Those that do not can't see either that a request was given up: they believe that its
    /// prompt lies where it was placed.
    pub sees_answers: bool,
}

/// What can be done to the engines of the tier. Errors are sentences that say why it can't.
pub trait Engines {
    /// Kills an engine.
    fn kill(&mut self, name: &str) -> impl Future<Output = Result<(), String>> + Send;
    /// Starts it again at its address.
    fn restart(&mut self, name: &str) -> impl Future<Output = Result<(), String>> + Send;
}

/// Checks a tier. It takes about fifteen seconds; no exchange takes over half a minute.
pub async fn run(target: &PdTarget, engines: &mut impl Engines) -> PdReport {
    let (mut report, mut figures) = (Report::default(), PdReport::default());
    replicas::are_ready(&target.tier, &mut report).await;
    replicas::know_each_other(&target.tier, &mut report).await;
    let reference = match Reference::start(&target.tier.model).await {
        Ok(reference) => reference,
        Err(why) => {
            report.fail(why);
            return figures.with(report);
        }
    };
    let public = Arc::new(Client::new(target.tier.public));
    let asker = Asker { target, public: &public, reference: &reference };
    // Without running answers that a prompt would hold up, nothing is gained by another engine for it.
    let load = Load::start(&asker, &mut report).await;
    answers(&asker, &mut figures, &mut report).await;
    figures.agreement = pairs::measure(target, &mut report).await;
    shares::end_with_the_first_token(&asker, &mut report).await;
    spoofed::check(&asker, &mut figures, &mut report).await;
    killed::check(&asker, engines, &mut figures, &mut report).await;
    load.end();
    shares::end_with_their_requests(target, &mut report).await;
    figures.with(report)
}

/// Asks with long and short prompts and with images, for streams and whole answers, and checks what ran for each.
async fn answers(asker: &Asker<'_>, figures: &mut PdReport, report: &mut Report) {
    let model = &asker.target.tier.model;
    let mut calls = Vec::new();
    for api in [Api::Chat, Api::Completions] {
        for streamed in [false, true] {
            for bytes in [LONG_BYTES, SHORT_BYTES] {
                calls.push(prompts::text(model, api, bytes, streamed));
            }
        }
    }
    // Twice the same: the engine that decoded holds the prompt by then.
    calls.push(prompts::text(model, Api::Chat, LONG_BYTES, false));
    if asker.target.engines.iter().any(|engine| engine.role == Role::Encode) {
        for bytes in [LONG_BYTES, SHORT_BYTES] {
            calls.extend([false, true].map(|streamed| prompts::with_image(model, bytes, streamed)));
        }
    }
    let (mut long, mut images) = (0, 0);
    for (label, call) in calls {
        let Some(legs) = asker.ask_and_compare(&label, &call, figures, report).await else { continue };
        long += u32::from(legs.prefill.is_some() && label.contains("long"));
        images += u32::from(legs.encode.is_some());
    }
    if long == 0 {
        report.fail("no long prompt was computed by another engine than the one that decoded".to_owned());
    }
    if images == 0 && asker.target.engines.iter().any(|engine| engine.role == Role::Encode) {
        report.fail("no image was encoded by an engine that encodes".to_owned());
    }
}
