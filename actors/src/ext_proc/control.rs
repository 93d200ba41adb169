//! The headers by which a gateway steers a decision, and which spelling of them counts.
//!
//! Must not know what they do to a decision. Each header has two spellings, and Envoy passes on whatever a client
//! sends. So a client could use the other spelling to override a gateway. Two values that differ are therefore refused,
//! and an operator may configure that only one spelling counts (`docs/headers.md`).

use std::collections::BTreeMap;

use murmuration::request::{Refusal, RefusalCode};
use murmuration_proto::names;

use super::headers::Head;

/// The longest value in bytes. Values become labels, keys and log fields; legitimate ones are far shorter.
const VALUE_BYTES_MAX: usize = 256;
/// The same of the headers that plugins read: one may be a list.
const PLUGIN_VALUE_BYTES_MAX: usize = 4096;
/// The prefix of the gateway's own spelling.
const GATEWAY_PREFIX: &str = "x-gateway-";

/// Which spelling counts. Headers that do not count are removed from the request, as all control headers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrustedSpelling {
    /// Both; where they differ, the request is refused.
    #[default]
    Any,
    /// `x-gateway-*` alone: the gateway sets these, and strips them from what clients send.
    Gateway,
    /// `x-llm-d-*` alone: likewise.
    LlmD,
    /// None: headers do not steer decisions.
    None,
}

/// The control headers of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Control<'a> {
    pub(super) objective: Option<&'a str>,
    pub(super) fairness_id: Option<&'a str>,
    pub(super) model_rewrite: Option<&'a str>,
    /// The scheduling profile.
    pub(super) profile: Option<&'a str>,
    /// The zone that it came from.
    pub(super) zone: Option<&'a str>,
    /// Whether the request wants an endpoint that holds some of its prompt.
    pub(super) if_available: bool,
}

// === impl Control ===

impl<'a> Control<'a> {
    /// # Errors
    /// `bad-request` when values of one header differ, or one is longer than 256 bytes.
    pub(super) fn read(
        head: &'a Head,
        trusted: TrustedSpelling,
        profile_header: Option<&str>,
    ) -> Result<Self, Refusal> {
        // It has one spelling, of which the operator's configuration may choose any.
        let profile_header = profile_header.filter(|_| trusted != TrustedSpelling::None);
        let profile = profile_header.map(|header| one_value(head, &[header], VALUE_BYTES_MAX)).transpose()?.flatten();
        let zone =
            (trusted != TrustedSpelling::None).then(|| one_value(head, &[names::FORWARDED_ZONE], VALUE_BYTES_MAX));
        let zone = zone.transpose()?.flatten().map(str::trim).filter(|zone| !zone.is_empty());
        Ok(Self {
            zone,
            profile: profile.map(str::trim).filter(|profile| !profile.is_empty()),
            if_available: head.values(names::PREFER).any(|value| prefers(value, names::IF_AVAILABLE)),
            objective: one_of(head, &names::OBJECTIVE, trusted)?,
            fairness_id: one_of(head, &names::FAIRNESS_ID, trusted)?,
            model_rewrite: one_of(head, &names::MODEL_REWRITE, trusted)?,
        })
    }
}

/// Those of the headers `names` that the request has, by name. They have one spelling each.
///
/// # Errors
/// `bad-request` when values of one header differ, or one is longer than 4,096 bytes.
pub(super) fn plugin_headers(
    head: &Head,
    trusted: TrustedSpelling,
    names: &[String],
) -> Result<BTreeMap<String, String>, Refusal> {
    let mut found = BTreeMap::new();
    for name in names.iter().filter(|_| trusted != TrustedSpelling::None) {
        if let Some(value) = one_value(head, &[name], PLUGIN_VALUE_BYTES_MAX)? {
            found.insert(name.clone(), value.to_owned());
        }
    }
    Ok(found)
}

// === impl TrustedSpelling ===

impl TrustedSpelling {
    fn counts(self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Gateway => name.starts_with(GATEWAY_PREFIX),
            Self::LlmD => !name.starts_with(GATEWAY_PREFIX),
            Self::None => false,
        }
    }
}

/// The one value of all trusted spellings; empty values are ignored.
fn one_of<'a>(head: &'a Head, spellings: &[&str], trusted: TrustedSpelling) -> Result<Option<&'a str>, Refusal> {
    let trusted: Vec<&str> = spellings.iter().copied().filter(|name| trusted.counts(name)).collect();
    one_value(head, &trusted, VALUE_BYTES_MAX)
}

/// The one value of all these headers; empty values are ignored.
fn one_value<'a>(head: &'a Head, spellings: &[&str], bytes_max: usize) -> Result<Option<&'a str>, Refusal> {
    let mut found: Option<(&str, &str)> = None;
    for name in spellings.iter().copied() {
        for value in head.values(name).filter_map(|value| std::str::from_utf8(value).ok()) {
            if value.is_empty() {
                continue;
            }
            if value.len() > bytes_max {
                return Err(refused(format!("the header {name} has {} bytes; {bytes_max} may be", value.len())));
            }
            match found {
                Some((first, known)) if known != value => return Err(refused(contradiction(first, name))),
                _ => found = Some((name, value)),
            }
        }
    }
    Ok(found.map(|(_, value)| value))
}

/// Whether a `Prefer` header has the preference `wanted`: one of a list, in any case, whatever its value or parameters.
fn prefers(value: &[u8], wanted: &str) -> bool {
    let name = |preference: &[u8]| preference.split(|byte| b";=".contains(byte)).next().map(<[u8]>::to_vec);
    value
        .split(|byte| *byte == b',')
        .filter_map(name)
        .any(|name| name.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes()))
}

fn contradiction(first: &str, second: &str) -> String {
    if first == second {
        return format!("the header {first} came twice with different values; send it once");
    }
    format!("the headers {first} and {second} mean the same and have different values; send one of them")
}

fn refused(sentence: String) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, sentence)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use murmuration_proto::ext_proc::{HeaderMap, HeaderValue, HttpHeaders};

    use super::*;

    fn head(pairs: &[(&str, &str)]) -> Head {
        let header = |(key, value): &(&str, &str)| HeaderValue {
            key: (*key).into(),
            raw_value: (*value).into(),
            ..Default::default()
        };
        let headers = Some(HeaderMap { headers: pairs.iter().map(header).collect() });
        Head::new(HttpHeaders { headers, ..Default::default() })
    }

    fn objective(pairs: &[(&str, &str)], trusted: TrustedSpelling) -> Result<Option<String>, String> {
        let head = head(pairs);
        let read = Control::read(&head, trusted, None).map_err(|refusal| refusal.sentence)?;
        Ok(read.objective.map(str::to_owned))
    }

    const GATEWAYS: (&str, &str) = ("x-gateway-inference-objective", "batch");
    const CLIENTS: (&str, &str) = ("X-LLM-D-Inference-Objective", "urgent");

    #[test]
    fn spellings_that_contradict_each_other_are_refused() {
        let sentence = objective(&[GATEWAYS, CLIENTS], TrustedSpelling::Any).unwrap_err();
        assert!(sentence.contains("x-llm-d-inference-objective and x-gateway-inference-objective"), "{sentence}");
        let twice = [GATEWAYS, ("x-gateway-inference-objective", "urgent")];
        assert!(objective(&twice, TrustedSpelling::Any).unwrap_err().contains("came twice"));
    }

    #[test]
    fn spellings_that_agree_and_empty_ones_are_no_contradiction() {
        let agreed = [GATEWAYS, ("x-llm-d-inference-objective", "batch"), GATEWAYS];
        assert_eq!(objective(&agreed, TrustedSpelling::Any), Ok(Some("batch".into())));
        let empty = [GATEWAYS, ("x-llm-d-inference-objective", "")];
        assert_eq!(objective(&empty, TrustedSpelling::Any), Ok(Some("batch".into())));
        assert_eq!(objective(&[], TrustedSpelling::Any), Ok(None));
    }

    #[test]
    fn only_the_trusted_spelling_counts() {
        let both = [GATEWAYS, CLIENTS];
        assert_eq!(objective(&both, TrustedSpelling::Gateway), Ok(Some("batch".into())));
        assert_eq!(objective(&both, TrustedSpelling::LlmD), Ok(Some("urgent".into())));
        assert_eq!(objective(&both, TrustedSpelling::None), Ok(None));
        assert_eq!(objective(&[CLIENTS], TrustedSpelling::Gateway), Ok(None), "a client can't fill a gap either");
    }

    #[test]
    fn headers_of_plugins_follow_the_same_rules() {
        let names = ["x-wanted".to_owned(), "x-absent".to_owned()];
        let read = |pairs: &[(&str, &str)], trusted| {
            plugin_headers(&head(pairs), trusted, &names).map_err(|refusal| refusal.sentence)
        };
        let (any, list) = (TrustedSpelling::Any, "a".repeat(PLUGIN_VALUE_BYTES_MAX));
        assert_eq!(read(&[("X-Wanted", &list), ("x-other", "b")], any), Ok([("x-wanted".into(), list.clone())].into()));
        assert_eq!(read(&[("x-wanted", "a")], TrustedSpelling::None), Ok(BTreeMap::new()));
        assert!(read(&[("x-wanted", &format!("{list}a"))], any).unwrap_err().contains("4097 bytes"));
        assert!(read(&[("x-wanted", "a"), ("x-wanted", "b")], any).unwrap_err().contains("came twice"));
    }

    #[test]
    fn a_value_that_is_too_long_is_refused_by_name() {
        let long = "m".repeat(VALUE_BYTES_MAX);
        let rewrite = |value: &str| {
            let head = head(&[("x-llm-d-model-name-rewrite", value)]);
            Control::read(&head, TrustedSpelling::Any, None).map(|_| ()).map_err(|refusal| refusal.sentence)
        };
        assert!(rewrite(&long).is_ok());
        assert!(rewrite(&format!("{long}m")).unwrap_err().contains("x-llm-d-model-name-rewrite has 257 bytes"));
    }

    #[test]
    fn the_profile_is_read_from_the_header_that_the_handler_names() {
        let profile = |pairs: &[(&str, &str)], trusted, header| {
            let head = head(pairs);
            Control::read(&head, trusted, header)
                .map(|read| read.profile.map(str::to_owned))
                .map_err(|why| why.sentence)
        };
        let (named, header) = ([("EPP-Profile", " prefill ")], Some("epp-profile"));
        assert_eq!(profile(&named, TrustedSpelling::Any, header), Ok(Some("prefill".into())));
        assert_eq!(profile(&named, TrustedSpelling::Gateway, header), Ok(Some("prefill".into())));
        assert_eq!(profile(&named, TrustedSpelling::None, header), Ok(None));
        assert_eq!(profile(&named, TrustedSpelling::Any, None), Ok(None), "no handler reads it");
        assert_eq!(profile(&[("epp-profile", " ")], TrustedSpelling::Any, header), Ok(None));
        let twice = [("epp-profile", "prefill"), ("epp-profile", "decode")];
        assert!(profile(&twice, TrustedSpelling::Any, header).unwrap_err().contains("came twice"));
    }

    #[test]
    fn the_caller_s_zone_is_read_where_headers_are_trusted_and_must_be_one() {
        let zone = |headers: &[(&str, &str)], trusted| {
            Control::read(&head(headers), trusted, None).map(|control| control.zone.map(str::to_owned))
        };
        assert_eq!(zone(&[("x-forwarded-zone", " a ")], TrustedSpelling::Gateway), Ok(Some("a".to_owned())));
        assert_eq!(zone(&[("x-forwarded-zone", "a")], TrustedSpelling::None), Ok(None));
        assert_eq!(zone(&[("x-forwarded-zone", " ")], TrustedSpelling::Any), Ok(None));
        assert!(zone(&[("x-forwarded-zone", "a"), ("x-forwarded-zone", "b")], TrustedSpelling::Any).is_err());
    }

    #[test]
    fn a_preference_is_found_in_its_list() {
        for (value, wanted) in [
            ("if-available", true),
            (" If-Available ; wait=3", true),
            ("return=minimal, if-available", true),
            ("if-available=1", true),
            ("return=if-available", false),
            ("if-available-soon", false),
            ("", false),
        ] {
            assert_eq!(prefers(value.as_bytes(), names::IF_AVAILABLE), wanted, "{value}");
        }
        let head = head(&[("Prefer", "return=minimal"), ("prefer", "if-available")]);
        assert!(Control::read(&head, TrustedSpelling::Any, None).unwrap().if_available);
    }
}
