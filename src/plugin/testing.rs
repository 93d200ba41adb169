//! Candidates and requests for plugin tests.
//!
//! Must not know any plugin.

use std::collections::BTreeMap;

use crate::chance::{Chance, mix};
use crate::fleet::{Endpoint, InFlight, PrefillSpeed, Trust};
use crate::id::{BlockHash, EndpointId, Slot};
use crate::prefix::{PrefixChain, PrefixMatch};
use crate::request::InferenceRequest;
use crate::schedule::{Ask, Candidate, SessionMatch, Target};

use super::contract::{Filter, Picker, Scorer};

/// An endpoint called `default/name`.
pub(crate) fn endpoint(name: &str, labels: &[(&str, &str)]) -> Endpoint {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Endpoint {
        id: EndpointId::new("default", name),
        address: ([10, 0, 0, 1], 8000).into(),
        labels: labels.collect::<BTreeMap<_, _>>(),
    }
}

/// Endpoints called `e0`, `e1`, ...
pub(crate) fn endpoints(count: usize) -> Vec<Endpoint> {
    (0..count).map(|i| endpoint(&format!("e{i}"), &[])).collect()
}

/// A row with a fresh, idle report for each endpoint.
pub(crate) fn rows(endpoints: &[Endpoint]) -> Vec<Candidate<'_>> {
    let row = |(i, endpoint)| Candidate {
        slot: Slot(u16::try_from(i).unwrap_or(u16::MAX)),
        endpoint,
        stages: endpoint.stages(),
        waiting: 0.0,
        running: 0.0,
        kv_usage: 0.0,
        kv_tokens: None,
        adapters: None,
        in_flight: InFlight::default(),
        speed: Some(PrefillSpeed::default()),
        matched: PrefixMatch::default(),
        session: SessionMatch::default(),
        trust: Trust::Exact,
        age: None,
        failing: None,
    };
    endpoints.iter().enumerate().map(row).collect()
}

/// A request of `blocks` blocks of 64 tokens; `seed` determines its chain.
pub(crate) fn request(seed: u64, blocks: usize) -> InferenceRequest {
    let mut request = InferenceRequest { content_hash: seed, ..InferenceRequest::default() };
    let hashes = (0..blocks as u64).map(|i| BlockHash(mix(seed.wrapping_add(i)))).collect();
    request.prompt.chain = PrefixChain::from_blocks(64, hashes);
    request.prompt.tokens = 64 * blocks as u64;
    request.prompt.estimate = request.prompt.tokens;
    request
}

/// `default/name` as a profile's choice, believed to hold `held` blocks of the prompt.
pub(crate) fn target(name: &str, held: u32) -> Target {
    let Endpoint { id, address, .. } = endpoint(name, &[]);
    Target { endpoint: id, address, matched: PrefixMatch { blocks: held, of: held }, score: 0.0 }
}

/// Names of the endpoints that a filter keeps.
pub(crate) fn kept(filter: &impl Filter, request: &InferenceRequest, rows: &[Candidate<'_>]) -> Vec<String> {
    let mut keep = vec![true; rows.len()];
    filter.filter(&Ask::sure(request), rows, &mut keep);
    let names = rows.iter().zip(keep).filter(|(_, keep)| *keep);
    names.map(|(row, _)| row.endpoint.id.name().to_owned()).collect()
}

/// The scores that a scorer gives.
pub(crate) fn scores(scorer: &impl Scorer, request: &InferenceRequest, rows: &[Candidate<'_>]) -> Vec<f64> {
    let mut scores = vec![0.0; rows.len()];
    scorer.score(&Ask::sure(request), rows, &mut scores);
    scores
}

/// The rows that a picker picks, with random numbers seeded by the request's content.
pub(crate) fn picked(
    picker: &impl Picker,
    request: &InferenceRequest,
    rows: &[Candidate<'_>],
    totals: &[f64],
) -> Vec<usize> {
    let mut chosen = Vec::new();
    let mut chance = Chance::from_seed(request.content_hash);
    picker.pick(&Ask::sure(request), rows, totals, &mut chance, &mut chosen);
    chosen
}
