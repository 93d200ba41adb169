//! Envoy's bootstrap: the same filters and routes three times: without a picker, with it behind them, and before them.
//!
//! Must not know what is asked. Each route that ends in a local reply is named for its cause.

use std::net::SocketAddr;

use murmuration_testbed::local::envoy_config::{address, cluster, ext_proc, listener, manager, typed};
use serde_json::{Value, json};

/// A key set with one key that no client has.
const KEYS: &str = r#"{"keys":[{"kty":"oct","alg":"HS256","kid":"none","k":"c2VjcmV0LW9mLW5vYm9keQ"}]}"#;

/// Where everything listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    /// Envoy without a picker.
    pub(crate) plain: SocketAddr,
    /// The filters first, then the picker.
    pub(crate) behind: SocketAddr,
    /// The picker first, then the filters.
    pub(crate) before: SocketAddr,
    /// Envoy's admin page.
    pub(crate) admin: SocketAddr,
    /// The picker's ext-proc service, without TLS.
    pub(crate) picker: SocketAddr,
    /// The picker's health service.
    pub(crate) health: SocketAddr,
    /// The picker's metrics and admin pages.
    pub(crate) replica_admin: SocketAddr,
    /// A server that answers every request with 200.
    pub(crate) engine: SocketAddr,
    /// A server that accepts and never answers.
    pub(crate) mute: SocketAddr,
    /// A server that answers with something that is not HTTP.
    pub(crate) garbage: SocketAddr,
    /// An address where nothing listens.
    pub(crate) nobody: SocketAddr,
}

/// The bootstrap.
pub(crate) fn bootstrap(at: &Places) -> Value {
    let filters = || vec![cors(), rbac(), jwt(), rate_limit(), fault(), buffer()];
    let behind = filters().into_iter().chain([ext_proc("picker", true)]).collect();
    let before = [ext_proc("picker", true)].into_iter().chain(filters()).collect();
    json!({
        "admin": { "address": address(at.admin) },
        "static_resources": {
            "listeners": [
                entrance("plain", at.plain, filters()),
                entrance("behind", at.behind, behind),
                entrance("before", at.before, before),
            ],
            "clusters": [
                cluster("picker", &[at.picker], true),
                cluster("engine", &[at.engine], false),
                cluster("mute", &[at.mute], false),
                cluster("garbage", &[at.garbage], false),
                cluster("refused", &[at.nobody], false),
                cluster("empty", &[], false),
            ],
        },
    })
}

fn entrance(name: &str, at: SocketAddr, filters: Vec<Value>) -> Value {
    let cors = json!({
        "@type": typed("extensions.filters.http.cors.v3.CorsPolicy"),
        "allow_origin_string_match": [{ "exact": "https://testbed" }],
        "allow_methods": "GET, POST",
    });
    let host = json!({ "typed_per_filter_config": { "envoy.filters.http.cors": cors }, "routes": routes() });
    let mut listener = listener(name, at, filters, host);
    manager(&mut listener)["request_timeout"] = Value::from("1s");
    listener
}

/// All paths but `/nowhere`, which has no route.
fn routes() -> Vec<Value> {
    let to = |path: &str, cluster: &str| json!({ "match": { "prefix": path }, "route": { "cluster": cluster, "timeout": "1s" } });
    let with = |path: &str, filter: &str, config: Value| {
        let mut route = to(path, "engine");
        route["typed_per_filter_config"] = json!({ (format!("envoy.filters.http.{filter}")): config });
        route
    };
    let limited = json!({
        "@type": typed("extensions.filters.http.local_ratelimit.v3.LocalRateLimit"),
        "stat_prefix": "limited",
        "token_bucket": { "max_tokens": 1, "tokens_per_fill": 1, "fill_interval": "3600s" },
        "filter_enabled": { "default_value": { "numerator": 100 } },
        "filter_enforced": { "default_value": { "numerator": 100 } },
    });
    let aborted = json!({
        "@type": typed("extensions.filters.http.fault.v3.HTTPFault"),
        "abort": { "http_status": 418, "percentage": { "numerator": 100 } },
    });
    let buffered = json!({
        "@type": typed("extensions.filters.http.buffer.v3.BufferPerRoute"),
        "buffer": { "max_request_bytes": 1_000 },
    });
    vec![
        to("/v1/", "engine"),
        to("/denied", "engine"),
        to("/jwt", "engine"),
        with("/limited", "local_ratelimit", limited),
        with("/aborted", "fault", aborted),
        with("/buffered", "buffer", buffered),
        json!({ "match": { "prefix": "/direct" }, "direct_response": { "status": 451, "body": { "inline_string": "no" } } }),
        json!({ "match": { "prefix": "/moved" }, "redirect": { "path_redirect": "/v1/models" } }),
        to("/refused", "refused"),
        to("/mute", "mute"),
        to("/garbage", "garbage"),
        to("/empty", "empty"),
    ]
}

fn cors() -> Value {
    filter("cors", "cors.v3.Cors", json!({}))
}

fn rbac() -> Value {
    let denied = json!({
        "permissions": [{ "url_path": { "path": { "prefix": "/denied" } } }],
        "principals": [{ "any": true }],
    });
    filter("rbac", "rbac.v3.RBAC", json!({ "rules": { "action": "DENY", "policies": { "denied": denied } } }))
}

fn jwt() -> Value {
    let provider = json!({ "issuer": "testbed", "local_jwks": { "inline_string": KEYS } });
    let rule = json!({ "match": { "prefix": "/jwt" }, "requires": { "provider_name": "testbed" } });
    filter(
        "jwt_authn",
        "jwt_authn.v3.JwtAuthentication",
        json!({ "providers": { "testbed": provider }, "rules": [rule] }),
    )
}

fn rate_limit() -> Value {
    filter("local_ratelimit", "local_ratelimit.v3.LocalRateLimit", json!({ "stat_prefix": "all" }))
}

fn fault() -> Value {
    filter("fault", "fault.v3.HTTPFault", json!({}))
}

fn buffer() -> Value {
    filter("buffer", "buffer.v3.Buffer", json!({ "max_request_bytes": 1_000_000 }))
}

fn filter(name: &str, message: &str, mut config: Value) -> Value {
    config["@type"] = Value::from(typed(&format!("extensions.filters.http.{message}")));
    json!({ "name": format!("envoy.filters.http.{name}"), "typed_config": config })
}
