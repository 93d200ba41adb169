//! `header-based-testing-filter`: the request itself names the endpoints that it may go to. For tests of gateways, such
//! as the conformance tests of the Gateway API Inference Extension.
//!
//! Must not know how headers arrive: the request carries those that plugins read.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::plugin::contract::Filter;
use crate::plugin::registration::{Invalid, NoParameters, Plugin, Produced, Roles};
use crate::schedule::{Ask, Candidate};

/// The request header, as llm-d calls it.
const HEADER: &str = "test-epp-endpoint-selection";

/// `header-based-testing-filter`: keeps the endpoints that the request header `test-epp-endpoint-selection` names:
/// addresses with a port, or without one for all ports, separated by commas. Without the header it keeps all. For tests
/// alone: whoever may send the header chooses endpoints.
#[derive(Clone, Copy, Debug)]
pub struct HeaderBasedTestingFilter;

/// One entry of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Host(IpAddr),
    Port(SocketAddr),
}

// === impl HeaderBasedTestingFilter ===

impl Filter for HeaderBasedTestingFilter {
    fn filter(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>], keep: &mut [bool]) {
        let Some(value) = ask.request.headers.get(HEADER).filter(|value| !value.is_empty()) else { return };
        let named: Vec<Named> = value.split(',').filter_map(Named::of).collect();
        for (row, keep) in candidates.iter().zip(keep) {
            *keep = named.iter().any(|named| named.is(row.endpoint.address));
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
    /// `None` for what is no address: it names no endpoint.
    fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        let host = || text.trim_matches(['[', ']']).parse().map(Self::Host);
        text.parse().map(Self::Port).or_else(|_| host()).ok()
    }

    fn is(&self, address: SocketAddr) -> bool {
        match self {
            Self::Host(host) => *host == address.ip(),
            Self::Port(port) => *port == address,
        }
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
    }

    #[test]
    fn without_it_all_may_serve_and_with_nonsense_none() {
        assert_eq!(keeps(None).len(), 4);
        assert_eq!(keeps(Some("")).len(), 4);
        assert!(keeps(Some("engine-1, :80, 10.0.0.3")).is_empty());
    }
}
