//! `header-based-testing-filter`: the request itself names the endpoints that it may go to. For tests of gateways, such
//! as the conformance tests of the Gateway API Inference Extension.
//!
//! Must not know how headers arrive: the request carries those that plugins read.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::id::canonical;
use crate::plugin::contract::Filter;
use crate::plugin::registration::{Invalid, NoParameters, Plugin, Produced, Roles};
use crate::schedule::{Ask, Candidate};

/// The request header, as llm-d calls it.
const HEADER: &str = "test-epp-endpoint-selection";

/// `header-based-testing-filter`: keeps the endpoints that the request header `test-epp-endpoint-selection` names:
/// addresses with a port, or without one for all ports, separated by commas. Without the header, or with an empty one,
/// it keeps all, where llm-d's keeps none. For tests alone: whoever may send the header chooses endpoints.
#[derive(Clone, Copy, Debug)]
pub struct HeaderBasedTestingFilter;

/// What the header names. What is no address names no endpoint.
#[derive(Debug, Default)]
struct Named {
    hosts: BTreeSet<IpAddr>,
    ports: BTreeSet<SocketAddr>,
}

// === impl HeaderBasedTestingFilter ===

impl Filter for HeaderBasedTestingFilter {
    fn filter(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>], keep: &mut [bool]) {
        let Some(value) = ask.request.headers.get(HEADER).filter(|value| !value.trim().is_empty()) else { return };
        let named = Named::of(value);
        for (row, keep) in candidates.iter().zip(keep) {
            *keep = named.has(row.endpoint.address);
        }
    }
}

impl Plugin for HeaderBasedTestingFilter {
    const TYPE: &'static str = "header-based-testing-filter";
    const READS: &'static [Produced] = &[];
    type Parameters = NoParameters;

    fn build(_: NoParameters) -> Result<Self, Invalid> {
        Ok(Self)
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::filter(self)
    }

    fn reads_headers(&self) -> Vec<String> {
        vec![HEADER.to_owned()]
    }
}

// === impl Named ===

impl Named {
    fn of(value: &str) -> Self {
        let mut named = Self::default();
        for text in value.split(',').map(str::trim) {
            let host = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
            if let Ok(address) = text.parse() {
                named.ports.insert(canonical(address));
            } else if let Ok(host) = host.parse::<IpAddr>() {
                named.hosts.insert(host.to_canonical());
            }
        }
        named
    }

    fn has(&self, address: SocketAddr) -> bool {
        self.ports.contains(&address) || self.hosts.contains(&address.ip())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::{endpoints, kept, request, rows};

    fn keeps(header: Option<&str>) -> Vec<String> {
        let mut endpoints = endpoints(4);
        for (endpoint, address) in
            endpoints.iter_mut().zip(["10.0.0.1:80", "10.0.0.1:81", "10.0.0.2:80", "[fd00::1]:80"])
        {
            endpoint.address = address.parse().unwrap_or(endpoint.address);
        }
        let mut request = request(1, 0);
        request.headers.extend(header.map(|value| (HEADER.to_owned(), value.to_owned())));
        kept(&HeaderBasedTestingFilter, &request, &rows(&endpoints))
    }

    #[test]
    fn the_header_names_hosts_and_ports() {
        assert_eq!(keeps(Some("10.0.0.1")), ["e0", "e1"]);
        assert_eq!(keeps(Some("10.0.0.1:81, 10.0.0.2")), ["e1", "e2"]);
        assert_eq!(keeps(Some("fd00::1")), ["e3"]);
        assert_eq!(keeps(Some("[fd00::1]:80,10.0.0.2:80")), ["e2", "e3"]);
        assert_eq!(keeps(Some("[fd00::1]")), ["e3"]);
        assert_eq!(keeps(Some("::ffff:10.0.0.2,[::ffff:10.0.0.1]:81")), ["e1", "e2"]);
    }

    #[test]
    fn without_it_all_may_serve_and_with_nonsense_none() {
        assert_eq!(keeps(None).len(), 4);
        assert_eq!(keeps(Some(" ")).len(), 4);
        assert!(keeps(Some("engine-1, :80, 10.0.0.3, [10.0.0.1, ]10.0.0.1[")).is_empty());
    }
}
