//! The settings of the service: limits, parsers, and whether it stays for the answer.
//!
//! Must not know YAML or flags; the code that starts the replica reads them.

use std::sync::Arc;
use std::time::Duration;

use murmuration::config::blueprint::{Parser, PrefixSettings};
use murmuration::plugin::Producer;
use murmuration::prefix::salt;
use murmuration::request::Rewrites;
use murmuration::schedule::SessionRules;
use murmuration::schedule::named::Named;

use super::control::TrustedSpelling;
use super::headers::Head;

/// Bounds of the service. Exceeding one is never silent: each has its refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Streams that may be open at once; above, 503 `too-many-streams`.
    pub streams_max: usize,
    /// Bytes of a request's body; above, 413 `body-too-large`.
    pub body_bytes: u64,
    /// Bytes of one gRPC message. Envoy sends body messages as large as its listener's buffer. Above, 413.
    pub message_bytes: usize,
    /// How long the scheduler may take; after that, 503 `picker-busy`. In full duplex Envoy has no timeout of its own.
    /// It also bounds the preparation before, and each wait for room or for a reader: each by itself, not their sum.
    pub decision_timeout: Duration,
    /// How long a request may pause while its body is not whole; after that, 408 `request-too-slow`.
    pub body_idle: Duration,
    /// How long a request may take until its body is whole; after that, 408 `request-too-slow`.
    pub arrival_max: Duration,
    /// Bytes of a body that must come in a second on average, once the first ten seconds are over; slower ones are
    /// refused with 408 `request-too-slow`. Zero asks for no rate.
    pub body_rate_min: u64,
    /// Bytes of the bodies of all requests at once. Above, a request waits for `decision_timeout`, then it is refused
    /// with 503 `too-many-bytes`. Not less than `body_bytes`.
    pub body_bytes_held: usize,
    /// Requests of one connection that may be arriving at once; above, its oldest one gives way (408
    /// `request-too-slow`), or the new one is refused with 503 `too-many-streams`.
    pub arriving_per_connection: usize,
    /// Bodies longer than this many bytes are read on a thread of their own, two at once. Reading is a computation, and
    /// must not delay other decisions.
    pub read_inline_bytes: usize,
}

/// Whether a replica sees the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponsePath {
    /// The stream stays open until the answer's end: usage, first token and outcome are seen.
    #[default]
    Stay,
    /// The replica ends its stream normally right after the last piece of the request, and Envoy continues alone. The
    /// answer costs nothing here and survives a failure of the replica. Completion is learned from the engine's
    /// reports.
    Leave,
}

/// Everything an exchange may depend on besides its messages.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bounds.
    pub limits: Limits,
    /// Whether to stay for the answer.
    pub response_path: ResponsePath,
    /// Parsers, in the configuration's order; the first that claims a path reads its bodies.
    pub parsers: Vec<Parser>,
    /// How prompts become chains.
    pub prefix: PrefixSettings,
    /// Who is asked about a request before its decision.
    pub producers: Vec<Named<dyn Producer>>,
    /// The tier's salt, which is mixed into them.
    pub tier_salt: u128,
    /// The header whose value is mixed in too, so that tenants share no hashes.
    pub tenant_header: Option<String>,
    /// Which spelling of the control headers counts.
    pub trusted: TrustedSpelling,
    /// Where requests name their session.
    pub sessions: SessionRules,
    /// Rules for the models of requests that bear no header for it; `None` before discovery announced any. Until then
    /// there are no endpoints either.
    pub rewrites: Option<Arc<Rewrites>>,
    /// The request headers that plugins read, in lower case.
    pub plugin_headers: Vec<String>,
    /// The headers of an answer that tell the client which endpoint served, in lower case.
    pub served_headers: Vec<String>,
    /// The header in which requests name their scheduling profile, in lower case, if the profile handler reads one.
    pub profile_header: Option<String>,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams_max: 10_000,
            body_bytes: 64 << 20,
            message_bytes: 8 << 20,
            decision_timeout: Duration::from_secs(5),
            body_idle: Duration::from_secs(60),
            arrival_max: Duration::from_secs(120),
            body_rate_min: 1_024,
            body_bytes_held: 256 << 20,
            arriving_per_connection: 5_000,
            read_inline_bytes: 256 << 10,
        }
    }
}

// === impl Settings ===

impl Settings {
    /// The salt of a request with these headers.
    pub(super) fn salt_of(&self, head: &Head) -> u128 {
        let tenant = self.tenant_header.as_deref().and_then(|name| head.get(name));
        tenant.map_or(self.tier_salt, |tenant| salt::of_tenant(self.tier_salt, tenant))
    }

    /// Settings with the default limits and every default parser, for a pool with these prefix settings.
    pub fn new(prefix: PrefixSettings) -> Self {
        Self {
            limits: Limits::default(),
            response_path: ResponsePath::default(),
            parsers: vec![Parser::OpenAi, Parser::Passthrough],
            prefix,
            producers: Vec::new(),
            tier_salt: 0,
            tenant_header: None,
            trusted: TrustedSpelling::default(),
            sessions: SessionRules::default(),
            rewrites: Some(Arc::default()),
            plugin_headers: Vec::new(),
            served_headers: Vec::new(),
            profile_header: None,
        }
    }
}
