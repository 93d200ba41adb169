//! Headers of a request and of an answer: what is read here, what each leg carries, and what belongs to one connection.
//!
//! Must not know targets' allow-list or connectors.

use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use murmuration_proto::names;

use super::target::{Target, read_list};

/// A later spelling of [`names::KV_SOURCE`].
const KV_SOURCE_LATER: &str = "x-llm-d-kv-cache-source-host-port";

/// The header that names a rank behind one port, to vLLM. Pickers name ranks by [`names::DATA_PARALLEL`], so this one is a
/// client's.
pub(crate) const RANK: &str = "x-data-parallel-rank";

/// What a picker said about a request's legs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Routing {
    /// Prefill engines, the best first.
    pub(crate) prefillers: Vec<Target>,
    /// Encode engines; media items are spread over them.
    pub(crate) encoders: Vec<Target>,
    /// The rank of this pod that decodes.
    pub(crate) rank: Option<Target>,
    /// An engine that holds the beginning of the prompt.
    pub(crate) kv_source: Option<Target>,
}

// === impl Routing ===

impl Routing {
    /// Removes the headers and reads them: no engine sees them, whether they can be read or not.
    ///
    /// # Errors
    /// One sentence that names the header.
    pub(crate) fn take(headers: &mut HeaderMap) -> Result<Self, String> {
        let mut taken = |name: &'static str| {
            let values: Vec<HeaderValue> = headers.get_all(name).iter().cloned().collect();
            headers.remove(name);
            (name, values)
        };
        let [prefillers, older, encoders, rank, kv_source, later] = [
            names::PREFILLER[0],
            names::PREFILLER[1],
            names::ENCODERS,
            names::DATA_PARALLEL,
            names::KV_SOURCE,
            KV_SOURCE_LATER,
        ]
        .map(&mut taken);
        taken(RANK);
        let (prefillers, older) = (list(prefillers)?, list(older)?);
        let (kv_source, later) = (list(kv_source)?, list(later)?);
        Ok(Self {
            prefillers: if prefillers.is_empty() { older } else { prefillers },
            encoders: list(encoders)?,
            rank: list(rank)?.into_iter().next(),
            kv_source: kv_source.into_iter().chain(later).next(),
        })
    }
}

/// The targets that the values of a header name.
fn list((name, values): (&'static str, Vec<HeaderValue>)) -> Result<Vec<Target>, String> {
    let text = |value: &HeaderValue| value.to_str().map(str::to_owned).map_err(|_| format!("{name}: it is no text"));
    let values: Vec<String> = values.iter().map(text).collect::<Result<_, _>>()?;
    read_list(values.iter().map(String::as_str)).map_err(|why| format!("{name}: {why}"))
}

/// Removes what concerns one connection only (RFC 9110, 7.6.1).
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
}

/// The headers of a request that the decode engine serves alone.
pub(crate) fn of_passed(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    remove_hop_by_hop(&mut headers);
    // The HTTP library sets the length, and answers who waits for 100.
    headers.remove(CONTENT_LENGTH);
    headers.remove(EXPECT);
    headers
}

/// The headers of a decode leg, whose body the sidecar writes anew.
pub(crate) fn of_rewritten(headers: &HeaderMap, id: &HeaderValue) -> HeaderMap {
    let mut headers = of_passed(headers);
    headers.remove(CONTENT_ENCODING);
    // The answer is read or changed here.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(names::REQUEST_ID, id.clone());
    headers
}

/// The headers of a leg at another engine, whose answer is read here.
pub(crate) fn of_leg(headers: &HeaderMap, id: &HeaderValue) -> HeaderMap {
    let mut headers = of_rewritten(headers, id);
    headers.remove(HOST);
    headers
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn routing_headers_are_read_in_every_spelling_and_reach_no_engine() {
        let mut headers = map(&[
            ("x-prefiller-host-port", "p1:8000,p0:8000"),
            ("x-prefiller-host-port", "p2:8000"),
            ("x-prefiller-url", "http://ignored:1"),
            ("x-encoder-hosts-ports", "e0:1, e1:1"),
            ("x-data-parallel-host-port", "10.0.0.1:8001"),
            ("x-llm-d-kv-cache-source-host-port", "s:1"),
            ("x-data-parallel-rank", "3"),
            ("x-other", "stays"),
        ]);
        let routing = Routing::take(&mut headers).unwrap();
        let shown = |targets: &[Target]| targets.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(shown(&routing.prefillers), ["p1:8000", "p0:8000", "p2:8000"], "in the picker's order");
        assert_eq!(shown(&routing.encoders), ["e0:1", "e1:1"]);
        assert_eq!(routing.rank.unwrap().to_string(), "10.0.0.1:8001");
        assert_eq!(routing.kv_source.unwrap().to_string(), "s:1");
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-other"]);

        let older = Routing::take(&mut map(&[("x-prefiller-url", "http://p0:8000")])).unwrap();
        assert_eq!(shown(&older.prefillers), ["p0:8000"]);
        assert_eq!(Routing::take(&mut map(&[("x-prefiller-host-port", " ")])).unwrap(), Routing::default());
    }

    #[test]
    fn a_header_that_can_not_be_read_is_named() {
        let why = Routing::take(&mut map(&[("x-prefiller-host-port", "p0")])).unwrap_err();
        assert_eq!(why, "x-prefiller-host-port: \"p0\" is no host:port");
    }

    #[test]
    fn a_header_that_can_not_be_read_leaves_none_behind() {
        let mut headers = map(&[
            ("x-prefiller-host-port", "p0"),
            ("x-prefiller-url", "http://p0:1"),
            ("x-encoder-hosts-ports", "e0:1"),
            ("x-data-parallel-host-port", "10.0.0.1:8001"),
            ("x-kv-cache-source-host-port", "s:1"),
            ("x-llm-d-kv-cache-source-host-port", "s:1"),
        ]);
        assert!(Routing::take(&mut headers).is_err());
        assert!(headers.is_empty(), "{headers:?}");
    }

    #[test]
    fn headers_of_a_connection_do_not_pass_and_those_that_it_names_neither() {
        let mut headers = map(&[
            ("connection", "keep-alive, X-Private"),
            ("keep-alive", "timeout=5"),
            ("x-private", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("authorization", "Bearer t"),
        ]);
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["authorization"]);
    }

    #[test]
    fn a_leg_has_its_own_host_length_and_encoding_and_the_requests_id() {
        let given = map(&[
            ("host", "gateway"),
            ("content-length", "5"),
            ("accept-encoding", "gzip"),
            ("authorization", "Bearer t"),
            ("x-request-id", "theirs"),
            ("x-request-id", "another"),
        ]);
        let leg = of_leg(&given, &HeaderValue::from_static("id"));
        let shown: Vec<(&str, &str)> =
            leg.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(shown.len(), 4, "{shown:?}");
        for pair in [
            ("accept-encoding", "identity"),
            ("authorization", "Bearer t"),
            ("content-type", "application/json"),
            ("x-request-id", "id"),
        ] {
            assert!(shown.contains(&pair), "{pair:?} of {shown:?}");
        }
        assert!(of_rewritten(&given, &HeaderValue::from_static("id")).contains_key("host"));
    }
}
