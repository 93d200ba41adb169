//! Envoy's bootstrap, from the addresses of a tier: a pure function.
//!
//! Must not know processes, files, or whether anything listens at these addresses. The text is JSON, which Envoy reads
//! as well as YAML. Comments explain the settings that avoid problems; all of these problems were seen on Envoy 1.40.

use std::net::SocketAddr;

use serde_json::{Value, json};

/// The cluster of Endpoint Picker replicas.
pub const PICKERS: &str = "epp";
/// The engines, of which each request says which ones it may use.
pub const ENGINES: &str = "engines";
/// The same engines, round robin, for requests that no picker sees.
pub const ENGINES_IN_TURN: &str = "engines_in_turn";
/// Prefix of the names of foreign ext-proc servers' clusters and listeners, before their number.
const FOREIGN: &str = "foreign";

/// The header, and the key of the metadata, that carries the picker's decision.
const DESTINATION: &str = "x-gateway-destination-endpoint";
/// The key of the metadata that tells the picker which engine served.
const SERVED: &str = "x-gateway-destination-endpoint-served";
/// Prefix of the names of Envoy's extensions and messages.
const TYPES: &str = "type.googleapis.com/envoy.";
/// The longest request, queueing included.
const REQUEST_MAX: &str = "600s";
/// A real vLLM closes a connection that was idle for 5 s; Envoy must close it first, or a request races with the end.
const ENGINE_IDLE_MAX: &str = "4s";
/// Most connections and requests that Envoy may have open; its default of 1,024 would slow a tier under test.
const OPEN_MAX: u32 = 100_000;

/// What Envoy has to know of a tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvoyPlan {
    /// Where requests enter.
    pub public: SocketAddr,
    /// Where requests enter that no picker sees.
    pub direct: SocketAddr,
    /// Where requests enter that pass a foreign ext-proc server, and that server, which speaks without TLS. They take
    /// the engines round robin, whatever that server answers.
    pub foreign: Vec<(SocketAddr, SocketAddr)>,
    /// Whether answers are sent to the pickers too. They must not be where a picker leaves the stream once it has
    /// answered: Envoy 1.40 loses what it has sent to a stream that ends before sending it back.
    pub shows_answers: bool,
    /// Envoy's admin pages.
    pub admin: SocketAddr,
    /// The replicas' ext-proc services.
    pub pickers: Vec<Picker>,
    /// Where pickers may send requests: engines, or their sidecars.
    pub destinations: Vec<SocketAddr>,
    /// The engines, for requests that no picker sees.
    pub engines: Vec<SocketAddr>,
}

/// One replica as Envoy sees it. Its ext-proc service uses TLS, its health service does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picker {
    /// ext-proc.
    pub ext_proc: SocketAddr,
    /// gRPC health.
    pub health: SocketAddr,
}

/// Envoy's bootstrap for `plan`.
pub fn bootstrap(plan: &EnvoyPlan) -> Value {
    let mut listeners = vec![
        entrance("public", plan.public, ENGINES, Some(ext_proc(PICKERS, plan.shows_answers))),
        entrance("direct", plan.direct, ENGINES_IN_TURN, None),
    ];
    let mut clusters =
        vec![pickers(&plan.pickers), destinations(&plan.destinations), cluster(ENGINES_IN_TURN, &plan.engines, false)];
    for (number, (at, server)) in plan.foreign.iter().enumerate() {
        let name = format!("{FOREIGN}_{number}");
        listeners.push(entrance(&name, *at, ENGINES_IN_TURN, Some(ext_proc(&name, plan.shows_answers))));
        clusters.push(cluster(&name, &[*server], true));
    }
    json!({
        "admin": { "address": address(plan.admin) },
        "static_resources": { "listeners": listeners, "clusters": clusters },
    })
}

fn entrance(name: &str, at: SocketAddr, cluster: &str, ext_proc: Option<Value>) -> Value {
    let route = json!({
        "match": { "prefix": "/" },
        "route": {
            "cluster": cluster,
            "timeout": REQUEST_MAX,
            "idle_timeout": REQUEST_MAX,
            // A request is retried only if no engine has begun to process it.
            "retry_policy": { "retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 1 },
        },
    });
    let mut listener = listener(name, at, ext_proc.into_iter().collect(), json!({ "routes": [route] }));
    manager(&mut listener)["stream_idle_timeout"] = Value::from(REQUEST_MAX);
    listener
}

/// A listener whose requests pass these filters, and then the routes of `virtual_host`.
pub fn listener(name: &str, at: SocketAddr, mut filters: Vec<Value>, mut virtual_host: Value) -> Value {
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": typed("extensions.filters.http.router.v3.Router") },
    }));
    virtual_host["name"] = Value::from(name);
    virtual_host["domains"] = json!(["*"]);
    json!({
        "name": name,
        "address": address(at),
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": typed("extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
                "stat_prefix": name,
                "route_config": { "name": name, "virtual_hosts": [virtual_host] },
                "http_filters": filters,
            },
        }] }],
    })
}

/// The settings of a listener's connection manager.
pub fn manager(listener: &mut Value) -> &mut Value {
    &mut listener["filter_chains"][0]["filters"][0]["typed_config"]
}

/// The filter that calls `cluster`. In full duplex Envoy has no timeout for single messages; the replica's own
/// deadlines apply. If a replica is gone, Envoy tries another one, as long as its retry buffer holds the request
/// (64 KiB).
pub fn ext_proc(cluster: &str, shows_answers: bool) -> Value {
    let (ends, body) = if shows_answers { ("SEND", "FULL_DUPLEX_STREAMED") } else { ("SKIP", "NONE") };
    let lb = json!({ "untyped": ["envoy.lb"] });
    json!({
        "name": "envoy.filters.http.ext_proc",
        "typed_config": {
            "@type": typed("extensions.filters.http.ext_proc.v3.ExternalProcessor"),
            "grpc_service": {
                "envoy_grpc": { "cluster_name": cluster, "authority": "localhost" },
                "retry_policy": retries(),
            },
            "processing_mode": {
                "request_header_mode": "SEND",
                "request_body_mode": "FULL_DUPLEX_STREAMED",
                "request_trailer_mode": "SEND",
                "response_header_mode": ends,
                "response_body_mode": body,
                "response_trailer_mode": ends,
            },
            "message_timeout": REQUEST_MAX,
            "allow_content_length_header": true,
            "metadata_options": { "receiving_namespaces": lb.clone(), "forwarding_namespaces": lb },
        },
    })
}

fn retries() -> Value {
    json!({
        "retry_on": "connect-failure,refused-stream,reset-before-request,reset,unavailable,cancelled",
        "num_retries": 3,
        "retry_back_off": { "base_interval": "0.005s", "max_interval": "0.05s" },
        "retry_host_predicate": [{
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": { "@type": typed("extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate") },
        }],
        "host_selection_retry_max_attempts": 5,
    })
}

fn pickers(pickers: &[Picker]) -> Value {
    let endpoints = pickers.iter().map(|picker| {
        json!({ "endpoint": {
            "address": address(picker.ext_proc),
            "health_check_config": { "port_value": picker.health.port() },
        } })
    });
    let tls = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": typed("extensions.transport_sockets.tls.v3.UpstreamTlsContext"),
            "sni": "localhost",
            "common_tls_context": { "alpn_protocols": ["h2"] },
        },
    });
    let plain = json!({
        "name": "plain",
        "match": { "plain": true },
        "transport_socket": {
            "name": "envoy.transport_sockets.raw_buffer",
            "typed_config": { "@type": typed("extensions.transport_sockets.raw_buffer.v3.RawBuffer") },
        },
    });
    json!({
        "name": PICKERS,
        "type": "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "ROUND_ROBIN",
        // With one of three replicas alive, Envoy's default panic threshold would send requests to the dead ones too.
        // Its default merge window delays the second health change within a second: workers would not know of a replica
        // that is back.
        "common_lb_config": { "healthy_panic_threshold": { "value": 1.0 }, "update_merge_window": "0s" },
        "circuit_breakers": generous(),
        "typed_extension_protocol_options": http2(),
        "transport_socket": tls,
        "transport_socket_matches": [plain],
        "health_checks": [health_check()],
        "load_assignment": {
            "cluster_name": PICKERS,
            "endpoints": [{ "lb_endpoints": endpoints.collect::<Vec<_>>() }],
        },
    })
}

/// Without `no_traffic_interval`, a cluster that has not been used yet is checked once a minute.
fn health_check() -> Value {
    json!({
        "timeout": "1s",
        "interval": "0.25s",
        "no_traffic_interval": "0.25s",
        "healthy_threshold": 1,
        "unhealthy_threshold": 2,
        "transport_socket_match_criteria": { "plain": true },
        "grpc_health_check": { "service_name": "envoy.service.ext_proc.v3.ExternalProcessor", "authority": "localhost" },
    })
}

/// The engines as Istio lets Envoy choose one: the first address of the picker's list, the next one when a request is
/// tried again, and any engine where the list is used up. Tells the picker which one it was.
fn destinations(engines: &[SocketAddr]) -> Value {
    let key = |name: &str| json!({ "key": "envoy.lb", "path": [{ "key": name }] });
    let mut cluster = cluster(ENGINES, engines, false);
    cluster["load_balancing_policy"] = json!({ "policies": [{ "typed_extension_config": {
        "name": "envoy.load_balancing_policies.override_host",
        "typed_config": {
            "@type": typed("extensions.load_balancing_policies.override_host.v3.OverrideHost"),
            "override_host_sources": [{ "metadata": key(DESTINATION) }, { "header": DESTINATION }],
            "selected_host_key": key(SERVED),
            "fallback_policy": { "policies": [{ "typed_extension_config": {
                "name": "envoy.load_balancing_policies.round_robin",
                "typed_config": { "@type": typed("extensions.load_balancing_policies.round_robin.v3.RoundRobin") },
            } }] },
        },
    } }] });
    cluster
}

/// A cluster of servers at these addresses, without health checks.
pub fn cluster(name: &str, servers: &[SocketAddr], is_http2: bool) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "lb_policy": "ROUND_ROBIN",
        "circuit_breakers": generous(),
        "typed_extension_protocol_options": if is_http2 { http2() } else { http1() },
        "load_assignment": assignment(name, servers),
    })
}

fn assignment(cluster: &str, addresses: &[SocketAddr]) -> Value {
    let endpoints = addresses.iter().map(|at| json!({ "endpoint": { "address": address(*at) } }));
    json!({ "cluster_name": cluster, "endpoints": [{ "lb_endpoints": endpoints.collect::<Vec<_>>() }] })
}

/// `max_retries`: Envoy's default of 3 at once would fail most requests of a replica that dies.
fn generous() -> Value {
    json!({ "thresholds": [{
        "max_connections": OPEN_MAX,
        "max_pending_requests": OPEN_MAX,
        "max_requests": OPEN_MAX,
        "max_retries": OPEN_MAX,
    }] })
}

fn http1() -> Value {
    protocol(json!({
        "explicit_http_config": { "http_protocol_options": {} },
        "common_http_protocol_options": { "idle_timeout": ENGINE_IDLE_MAX },
    }))
}

fn http2() -> Value {
    protocol(json!({ "explicit_http_config": { "http2_protocol_options": {} } }))
}

fn protocol(mut options: Value) -> Value {
    options["@type"] = Value::from(typed("extensions.upstreams.http.v3.HttpProtocolOptions"));
    json!({ "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options })
}

/// An address as Envoy writes it.
pub fn address(at: SocketAddr) -> Value {
    json!({ "socket_address": { "address": at.ip().to_string(), "port_value": at.port() } })
}

/// The type of an extension or message, in full.
pub fn typed(name: &str) -> String {
    format!("{TYPES}{name}")
}

#[cfg(test)]
#[path = "envoy_config_tests.rs"]
mod tests;
