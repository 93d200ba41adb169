//! The plugin in a whole scheduler, built from the example's configuration.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use murmuration::config;
use murmuration::fleet::{Endpoint, EndpointChange, LoadReport, Observation, TrustAges};
use murmuration::id::EndpointId;
use murmuration::plugin::{RequestBody, Unprepared};
use murmuration::request::InferenceRequest;
use murmuration::scheduler::recent::RECENT_MAX;
use murmuration::scheduler::{Input, Outbox, Scheduler, SchedulerSettings};
use murmuration::time::Timestamp;

use crate::catalog;

const CONFIG: &str = include_str!("../config.yaml");

/// A scheduler of idle endpoints with these prices.
fn scheduler(text: &str, prices: &[Option<&str>]) -> Scheduler {
    let blueprint = config::read(text, "config.yaml", &catalog()).unwrap_or_else(|errors| panic!("{errors}"));
    let settings = SchedulerSettings {
        prefix: blueprint.prefix,
        in_flight: blueprint.in_flight,
        saturation: blueprint.saturation,
        index_bytes_max: 1 << 20,
        recent_max: RECENT_MAX,
        lease: Duration::from_secs(60),
        sharing: false,
        trust_ages: TrustAges::default(),
    };
    let mut scheduler = Scheduler::new(blueprint.profiles, settings);
    for (n, price) in prices.iter().enumerate() {
        let (id, n) = (EndpointId::new("default", &format!("e{n}")), u16::try_from(n).unwrap());
        let labels = price.map(|price| ("example.com/cost-per-hour".to_owned(), price.to_owned()));
        let endpoint =
            Endpoint { id: id.clone(), address: ([10, 0, 0, 1], n).into(), labels: labels.into_iter().collect() };
        let (now, mut out) = (Timestamp::ZERO, Outbox::default());
        scheduler.handle(Input::Discovered(vec![EndpointChange::Upsert(endpoint)]), now, &mut out);
        let report = LoadReport { awake: true, ..LoadReport::default() };
        scheduler.handle(Input::Observed(id, Observation { report, age: Duration::ZERO }), now, &mut out);
    }
    scheduler
}

/// Scores of `cost-per-hour` by endpoint, best total first, and what its filter left.
fn scores(scheduler: &mut Scheduler) -> (Vec<(String, f64)>, usize) {
    let decision = scheduler.decide(&InferenceRequest::default(), Timestamp::ZERO).unwrap();
    let profile = &decision.explanation.profiles[0];
    let column = profile.scorers.iter().position(|scorer| scorer.scorer == "cost-per-hour").unwrap();
    let rows = profile.rows.iter().map(|row| (row.endpoint.name().to_owned(), row.scores[column]));
    (rows.collect(), profile.filters[0].after)
}

#[test]
fn the_cheapest_of_equally_loaded_endpoints_is_chosen() {
    let (scores, _) = scores(&mut scheduler(CONFIG, &[Some("4.0"), Some("2.0"), Some("free"), None]));
    let named = |name: &str, score| (name.to_owned(), score);
    assert_eq!(scores[..2], [named("e1", 1.0), named("e0", 0.5)]);
    assert!(scores[2..].iter().all(|(_, score)| *score == 0.0), "{scores:?}");
}

#[test]
fn the_engine_and_the_client_learn_what_the_choice_costs() {
    let mut scheduler = scheduler(CONFIG, &[Some("4.0"), Some("2.0")]);
    let decision = scheduler.decide(&InferenceRequest::default(), Timestamp::ZERO).unwrap();
    for headers in [&decision.request_headers, &decision.response_headers] {
        let headers: Vec<(&str, &str)> = headers.iter().map(|header| (header.name(), header.value())).collect();
        assert_eq!(headers, [("x-relative-cost", "1.00")]);
    }
}

#[test]
fn endpoints_without_a_price_are_left_out_if_it_is_required() {
    let strict = CONFIG.replace("required: false", "required: true");
    assert_eq!(scores(&mut scheduler(&strict, &[Some("4.0"), None])).1, 1);
    assert_eq!(scores(&mut scheduler(CONFIG, &[Some("4.0"), None])).1, 2);
}

#[test]
fn a_wrong_parameter_is_an_error_with_its_place() {
    let wrong = CONFIG.replace("required: false", "requird: false");
    let errors = config::read(&wrong, "config.yaml", &catalog()).unwrap_err().to_string();
    assert!(errors.contains("`requird`; did you mean `required`?"), "{errors}");
}

#[tokio::test]
async fn a_request_names_what_it_may_cost() {
    let blueprint = config::read(CONFIG, "config.yaml", &catalog()).unwrap_or_else(|errors| panic!("{errors}"));
    let [producer] = blueprint.producers.as_slice() else { panic!("{:?}", blueprint.producers) };
    let body = RequestBody::from(br#"{"model": "m", "metadata": {"max_cost_per_hour": "2.5"}}"#.to_vec());
    let mut request = InferenceRequest { body_bytes: 60, ..InferenceRequest::default() };
    assert!(producer.plugin.deadline("/v1/completions", &request).is_some());
    let asked = Unprepared { path: "/v1/completions", body: &body, request: &request };
    producer.plugin.learn(asked).await.unwrap().add_to(&mut request).unwrap();
    let decision = scheduler(CONFIG, &[Some("4.0"), Some("2.0")]).decide(&request, Timestamp::ZERO).unwrap();
    assert_eq!(decision.explanation.profiles[0].rows.len(), 1, "the dearer one is left out");
    let torn = RequestBody::from(b"{".to_vec());
    let asked = Unprepared { path: "/v1/completions", body: &torn, request: &request };
    assert_eq!(producer.plugin.learn(asked).await.unwrap_err(), "malformed");
}
