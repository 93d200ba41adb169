//! `decode-filter`, `prefill-filter` and `encode-filter`: endpoints whose role label allows the stage.
//!
//! Must not know which stage is being decided: the configuration puts each filter into the right profile.

use std::sync::Arc;

use crate::fleet::Stages;
use crate::plugin::contract::Filter;
use crate::plugin::registration::{Invalid, NoParameters, Plugin, Produced, Roles};
use crate::schedule::{Ask, Candidate};

/// `decode-filter`: keeps the endpoints that decode: their label `llm-d.ai/role` is `decode`, `prefill-decode`, `both`
/// or `encode-prefill-decode`, or they have no such label.
#[derive(Clone, Copy, Debug)]
pub struct DecodeFilter;

/// `prefill-filter`: keeps the endpoints that prefill: their label `llm-d.ai/role` is `prefill`, `encode-prefill`,
/// `prefill-decode`, `both` or `encode-prefill-decode`. Those without the label are removed.
#[derive(Clone, Copy, Debug)]
pub struct PrefillFilter;

/// `encode-filter`: keeps endpoints whose role label allows encoding: `encode`, `encode-prefill` or
/// `encode-prefill-decode`.
#[derive(Clone, Copy, Debug)]
pub struct EncodeFilter;

fn keep_those(candidates: &[Candidate<'_>], keep: &mut [bool], allowed: fn(Stages) -> bool) {
    for (row, keep) in candidates.iter().zip(keep) {
        *keep = allowed(row.stages);
    }
}

// === impl DecodeFilter ===

impl Filter for DecodeFilter {
    fn filter(&self, _: &Ask<'_>, candidates: &[Candidate<'_>], keep: &mut [bool]) {
        keep_those(candidates, keep, |stages| stages.decode);
    }
}

impl Plugin for DecodeFilter {
    const TYPE: &'static str = "decode-filter";
    const READS: &'static [Produced] = &[];
    type Parameters = NoParameters;

    fn build(_: NoParameters) -> Result<Self, Invalid> {
        Ok(Self)
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::filter(self)
    }
}

// === impl PrefillFilter ===

impl Filter for PrefillFilter {
    fn filter(&self, _: &Ask<'_>, candidates: &[Candidate<'_>], keep: &mut [bool]) {
        keep_those(candidates, keep, |stages| stages.prefill);
    }
}

impl Plugin for PrefillFilter {
    const TYPE: &'static str = "prefill-filter";
    const READS: &'static [Produced] = &[];
    type Parameters = NoParameters;

    fn build(_: NoParameters) -> Result<Self, Invalid> {
        Ok(Self)
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::filter(self)
    }
}

// === impl EncodeFilter ===

impl Filter for EncodeFilter {
    fn filter(&self, _: &Ask<'_>, candidates: &[Candidate<'_>], keep: &mut [bool]) {
        keep_those(candidates, keep, |stages| stages.encode);
    }
}

impl Plugin for EncodeFilter {
    const TYPE: &'static str = "encode-filter";
    const READS: &'static [Produced] = &[];
    type Parameters = NoParameters;

    fn build(_: NoParameters) -> Result<Self, Invalid> {
        Ok(Self)
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::filter(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::endpoint::ROLE_LABEL;
    use crate::plugin::testing::{endpoint, kept, request, rows};

    #[test]
    fn every_role_is_kept_as_in_llm_d() {
        let roles =
            ["decode", "prefill", "encode", "prefill-decode", "both", "encode-prefill", "encode-prefill-decode", "x"];
        let mut endpoints: Vec<_> = roles.iter().map(|role| endpoint(role, &[(ROLE_LABEL, role)])).collect();
        endpoints.push(endpoint("unlabelled", &[]));
        let rows = rows(&endpoints);
        let decode = kept(&DecodeFilter, &request(1, 0), &rows);
        assert_eq!(decode, ["decode", "prefill-decode", "both", "encode-prefill-decode", "unlabelled"]);
        let prefill = kept(&PrefillFilter, &request(1, 0), &rows);
        assert_eq!(prefill, ["prefill", "prefill-decode", "both", "encode-prefill", "encode-prefill-decode"]);
        let encode = kept(&EncodeFilter, &request(1, 0), &rows);
        assert_eq!(encode, ["encode", "encode-prefill", "encode-prefill-decode"]);
    }
}
