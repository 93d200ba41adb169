//! The headers by which a gateway steers a decision, and whose spelling of them counts.
//!
//! Must not know what they do to a decision. Each has two spellings, and Envoy passes on whatever a client sends. So a
//! gateway that sets one spelling would lose to a client that sets the other: two values that differ are refused, and
//! an operator may say that only one spelling counts (`docs/headers.md`).

use murmuration::request::{Refusal, RefusalCode};
use murmuration_proto::names;

use super::headers::Head;

/// Bytes of a value at most. Names become labels, keys and log fields; none that is honest comes near.
const VALUE_BYTES_MAX: usize = 256;
/// What the gateway's own spelling begins with.
const GATEWAY_PREFIX: &str = "x-gateway-";

/// Whose spelling counts. Headers that do not count are taken off the request, as all control headers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrustedSpelling {
    /// Both; where they differ, the request is refused.
    #[default]
    Any,
    /// `x-gateway-*` alone: the gateway sets these, and strips them from what clients send.
    Gateway,
    /// `x-llm-d-*` alone: likewise.
    LlmD,
    /// None: nobody steers decisions by headers.
    None,
}

/// What the headers of one request say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Control<'a> {
    pub(super) objective: Option<&'a str>,
    pub(super) fairness_id: Option<&'a str>,
    pub(super) model_rewrite: Option<&'a str>,
}

// === impl Control ===

impl<'a> Control<'a> {
    /// # Errors
    /// `bad-request` when values of one header differ, or one is longer than 256 bytes.
    pub(super) fn read(head: &'a Head, trusted: TrustedSpelling) -> Result<Self, Refusal> {
        Ok(Self {
            objective: one_of(head, &names::OBJECTIVE, trusted)?,
            fairness_id: one_of(head, &names::FAIRNESS_ID, trusted)?,
            model_rewrite: one_of(head, &names::MODEL_REWRITE, trusted)?,
        })
    }
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

/// The one value that all trusted spellings have; empty values say nothing.
fn one_of<'a>(head: &'a Head, spellings: &[&str], trusted: TrustedSpelling) -> Result<Option<&'a str>, Refusal> {
    let mut said: Option<(&str, &str)> = None;
    for name in spellings.iter().copied().filter(|name| trusted.counts(name)) {
        for value in head.values(name).filter_map(|value| std::str::from_utf8(value).ok()) {
            if value.is_empty() {
                continue;
            }
            if value.len() > VALUE_BYTES_MAX {
                return Err(refused(format!("the header {name} has {} bytes; {VALUE_BYTES_MAX} may be", value.len())));
            }
            match said {
                Some((first, known)) if known != value => return Err(refused(contradiction(first, name))),
                _ => said = Some((name, value)),
            }
        }
    }
    Ok(said.map(|(_, value)| value))
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
        let read = Control::read(&head, trusted).map_err(|refusal| refusal.sentence)?;
        Ok(read.objective.map(str::to_owned))
    }

    const GATEWAYS: (&str, &str) = ("x-gateway-inference-objective", "batch");
    const CLIENTS: (&str, &str) = ("X-LLM-D-Inference-Objective", "urgent");

    #[test]
    fn spellings_that_contradict_each_other_are_refused_whoever_sent_which() {
        let told = objective(&[GATEWAYS, CLIENTS], TrustedSpelling::Any).unwrap_err();
        assert!(told.contains("x-llm-d-inference-objective and x-gateway-inference-objective"), "{told}");
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
    fn a_value_that_is_too_long_is_refused_by_name() {
        let long = "m".repeat(VALUE_BYTES_MAX);
        let rewrite = |value: &str| {
            let head = head(&[("x-llm-d-model-name-rewrite", value)]);
            Control::read(&head, TrustedSpelling::Any).map(|_| ()).map_err(|refusal| refusal.sentence)
        };
        assert!(rewrite(&long).is_ok());
        assert!(rewrite(&format!("{long}m")).unwrap_err().contains("x-llm-d-model-name-rewrite has 257 bytes"));
    }
}
