//! `destination-endpoint-served-verifier`: tells the client which endpoint served its request. For tests of gateways,
//! such as the conformance tests of the Gateway API Inference Extension.
//!
//! Must not know how a gateway reports that endpoint.

use std::sync::Arc;

use super::contract::ResponseHook;
use super::registration::{Invalid, NoParameters, Plugin, Produced, Roles};

/// `destination-endpoint-served-verifier`: the answer's header `x-conformance-test-served-endpoint` names the endpoint
/// that the gateway reports as the one that served, or begins with `fail:` if it reports none. For tests alone: the
/// header shows the pool's addresses.
#[derive(Clone, Copy, Debug)]
pub struct DestinationEndpointServedVerifier;

// === impl DestinationEndpointServedVerifier ===

impl ResponseHook for DestinationEndpointServedVerifier {
    fn served_header(&self) -> Option<&str> {
        Some("x-conformance-test-served-endpoint")
    }
}

impl Plugin for DestinationEndpointServedVerifier {
    const TYPE: &'static str = "destination-endpoint-served-verifier";
    const READS: &'static [Produced] = &[];
    type Parameters = NoParameters;

    fn build(_: NoParameters) -> Result<Self, Invalid> {
        Ok(Self)
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::response_hook(self)
    }
}
