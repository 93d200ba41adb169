//! The bootstrap, part by part. `testbed --check` shows that Envoy accepts it.

#![allow(clippy::unwrap_used)]

use super::*;

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn plan() -> EnvoyPlan {
    EnvoyPlan {
        public: at(1),
        direct: at(2),
        foreign: Vec::new(),
        shows_answers: true,
        admin: at(3),
        pickers: vec![Picker { ext_proc: at(10), health: at(11) }, Picker { ext_proc: at(20), health: at(21) }],
        destinations: vec![at(30), at(33)],
        engines: vec![at(30), at(31), at(32)],
    }
}

fn named<'a>(bootstrap: &'a Value, kind: &str, name: &str) -> &'a Value {
    let all = bootstrap["static_resources"][kind].as_array().unwrap();
    all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{kind} has no {name}"))
}

fn manager_of<'a>(bootstrap: &'a Value, listener: &str) -> &'a Value {
    &named(bootstrap, "listeners", listener)["filter_chains"][0]["filters"][0]["typed_config"]
}

fn filters(bootstrap: &Value, listener: &str) -> Vec<String> {
    let filters = manager_of(bootstrap, listener)["http_filters"].as_array().unwrap().iter();
    filters.map(|filter| filter["name"].as_str().unwrap().to_owned()).collect()
}

fn ports(cluster: &Value) -> Vec<u64> {
    let endpoints = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"].as_array().unwrap().iter();
    endpoints.map(|one| one["endpoint"]["address"]["socket_address"]["port_value"].as_u64().unwrap()).collect()
}

#[test]
fn public_requests_pass_a_picker_and_go_to_its_destination() {
    let bootstrap = bootstrap(&plan());
    assert_eq!(filters(&bootstrap, "public"), ["envoy.filters.http.ext_proc", "envoy.filters.http.router"]);
    let manager = manager_of(&bootstrap, "public");
    let filter = &manager["http_filters"][0]["typed_config"];
    assert_eq!(filter["grpc_service"]["envoy_grpc"]["cluster_name"], PICKERS);
    for mode in ["request_body_mode", "response_body_mode"] {
        assert_eq!(filter["processing_mode"][mode], "FULL_DUPLEX_STREAMED", "{mode}");
    }
    assert_eq!(manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]["cluster"], ENGINES);
    let engines = named(&bootstrap, "clusters", ENGINES);
    assert_eq!(ports(engines), [30, 33]);
    let choice = &engines["load_balancing_policy"]["policies"][0]["typed_extension_config"]["typed_config"];
    assert_eq!(choice["override_host_sources"][1]["header"], "x-gateway-destination-endpoint");
}

#[test]
fn a_picker_that_leaves_is_not_shown_answers() {
    let bootstrap = bootstrap(&EnvoyPlan { shows_answers: false, ..plan() });
    let mode = &manager_of(&bootstrap, "public")["http_filters"][0]["typed_config"]["processing_mode"];
    assert_eq!((&mode["response_header_mode"], &mode["response_body_mode"]), (&json!("SKIP"), &json!("NONE")));
    assert_eq!(mode["request_body_mode"], "FULL_DUPLEX_STREAMED");
}

#[test]
fn direct_requests_pass_no_picker_and_take_the_engines_in_turn() {
    let bootstrap = bootstrap(&plan());
    assert_eq!(filters(&bootstrap, "direct"), ["envoy.filters.http.router"]);
    assert_eq!(ports(named(&bootstrap, "clusters", ENGINES_IN_TURN)), [30, 31, 32]);
}

#[test]
fn every_replica_is_health_checked_at_its_health_port() {
    let bootstrap = bootstrap(&plan());
    let pickers = named(&bootstrap, "clusters", PICKERS);
    assert_eq!(ports(pickers), [10, 20]);
    let asked = pickers["load_assignment"]["endpoints"][0]["lb_endpoints"].as_array().unwrap().iter();
    let asked: Vec<_> =
        asked.map(|one| one["endpoint"]["health_check_config"]["port_value"].as_u64().unwrap()).collect();
    assert_eq!(asked, [11, 21]);
    // ext-proc speaks TLS, the health service does not: the check must match the plain socket.
    assert_eq!(pickers["transport_socket"]["name"], "envoy.transport_sockets.tls");
    let check = &pickers["health_checks"][0]["transport_socket_match_criteria"];
    assert_eq!(*check, pickers["transport_socket_matches"][0]["match"]);
}

#[test]
fn a_picker_that_dies_is_replaced_by_another_one() {
    let bootstrap = bootstrap(&plan());
    let retries = &manager_of(&bootstrap, "public")["http_filters"][0]["typed_config"]["grpc_service"]["retry_policy"];
    let causes: Vec<&str> = retries["retry_on"].as_str().unwrap().split(',').collect();
    for cause in ["connect-failure", "reset-before-request", "unavailable", "cancelled"] {
        assert!(causes.contains(&cause), "{cause}");
    }
    assert_eq!(retries["retry_host_predicate"][0]["name"], "envoy.retry_host_predicates.previous_hosts");
    let breaker = &named(&bootstrap, "clusters", PICKERS)["circuit_breakers"]["thresholds"][0];
    assert!(breaker["max_retries"].as_u64().unwrap() > 1000);
}

#[test]
fn each_foreign_ext_proc_server_has_a_listener_and_there_is_none_without() {
    let without = bootstrap(&plan());
    assert_eq!(without["static_resources"]["listeners"].as_array().unwrap().len(), 2);
    let with = bootstrap(&EnvoyPlan { foreign: vec![(at(4), at(40)), (at(5), at(50))], ..plan() });
    for (name, port) in [("foreign_0", 40), ("foreign_1", 50)] {
        assert_eq!(filters(&with, name), ["envoy.filters.http.ext_proc", "envoy.filters.http.router"]);
        assert_eq!(ports(named(&with, "clusters", name)), [port]);
    }
}

#[test]
fn nothing_is_logged_per_request() {
    let with = bootstrap(&EnvoyPlan { foreign: vec![(at(4), at(40))], ..plan() });
    assert!(!with.to_string().contains("access_log"));
}

#[test]
fn ipv6_engines_are_addresses_too() {
    let engine: SocketAddr = "[::1]:8000".parse().unwrap();
    let bootstrap = bootstrap(&EnvoyPlan { engines: vec![engine], ..plan() });
    let cluster = named(&bootstrap, "clusters", ENGINES_IN_TURN);
    let address = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"];
    assert_eq!(address["socket_address"]["address"], "::1");
}
