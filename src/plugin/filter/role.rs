//! `decode-filter` and `prefill-filter`: endpoints whose role label allows the stage.
//!
//! Must not know which stage is being decided: the configuration puts each filter into the right profile.

use crate::fleet::endpoint::ROLE_LABEL;
use crate::plugin::contract::{Filter, FilterPlugin, Invalid, NoParameters, Produced};
use crate::schedule::{Ask, Candidate};

/// Roles that decode. An endpoint without a role decodes too.
const DECODE_ROLES: [&str; 4] = ["decode", "prefill-decode", "both", "encode-prefill-decode"];
/// Roles that prefill. An endpoint without a role does not.
const PREFILL_ROLES: [&str; 5] = ["prefill", "encode-prefill", "prefill-decode", "both", "encode-prefill-decode"];

/// `decode-filter`: keeps the endpoints that decode: their label `llm-d.ai/role` is `decode`, `prefill-decode`, `both`
/// or `encode-prefill-decode`, or they have no such label.
#[derive(Clone, Copy, Debug)]
pub struct DecodeFilter;

/// `prefill-filter`: keeps the endpoints that prefill: their label `llm-d.ai/role` is `prefill`, `encode-prefill`,
/// `prefill-decode`, `both` or `encode-prefill-decode`. Those without the label are removed.
#[derive(Clone, Copy, Debug)]
pub struct PrefillFilter;

fn keep_roles(candidates: &[Candidate<'_>], keep: &mut [bool], roles: &[&str], without_role: bool) {
    for (row, keep) in candidates.iter().zip(keep) {
        *keep = row.endpoint.labels.get(ROLE_LABEL).map_or(without_role, |role| roles.contains(&role.as_str()));
    }
}

// === impl DecodeFilter ===

impl Filter for DecodeFilter {
    fn filter(&self, _: &Ask<'_>, candidates: &[Candidate<'_>], keep: &mut [bool]) {
        keep_roles(candidates, keep, &DECODE_ROLES, true);
    }
}

impl FilterPlugin for DecodeFilter {
    const TYPE: &'static str = "decode-filter";
    const READS: &'static [Produced] = &[];
    type Parameters = NoParameters;

    fn build(_: NoParameters) -> Result<Self, Invalid> {
        Ok(Self)
    }
}

// === impl PrefillFilter ===

impl Filter for PrefillFilter {
    fn filter(&self, _: &Ask<'_>, candidates: &[Candidate<'_>], keep: &mut [bool]) {
        keep_roles(candidates, keep, &PREFILL_ROLES, false);
    }
}

impl FilterPlugin for PrefillFilter {
    const TYPE: &'static str = "prefill-filter";
    const READS: &'static [Produced] = &[];
    type Parameters = NoParameters;

    fn build(_: NoParameters) -> Result<Self, Invalid> {
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    }
}
