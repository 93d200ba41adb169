//! `/metrics` where the API server says who may read it.

use murmuration::event::Event;

use super::fixture::{Cluster, Watching, eventually};

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

#[tokio::test]
async fn metrics_are_for_bearers_that_the_api_server_allows() {
    let mut cluster = Cluster::with_pool().await;
    cluster.api.knows("prometheus", true);
    cluster.api.knows("somebody", false);
    let mut replica = Watching::guarded(&cluster).await;
    replica.ready().await;
    for (token, status, says) in [
        (None, 401, "needs a token"),
        (Some("made-up"), 401, "needs a token"),
        (Some("somebody"), 403, "nonResourceURL /metrics"),
        (Some("prometheus"), 200, "llm_d_epp_ready_endpoints"),
    ] {
        let (answered, page) = replica.metrics_with(token).await;
        assert_eq!(answered, status, "{token:?}: {page}");
        assert!(page.contains(says), "{token:?}: {page}");
    }
    for path in ["/healthz", "/readyz", "/debug/fleet"] {
        assert_eq!(replica.page_of(path).await, 200, "{path} has its own rule");
    }
    // Answers hold: the API server is asked about each token once.
    let asked = cluster.api.calls(REVIEWS).0;
    replica.metrics_with(Some("prometheus")).await;
    replica.metrics_with(Some("somebody")).await;
    assert_eq!(cluster.api.calls(REVIEWS).0, asked);
    // Without an API server who was admitted stays so, and nobody else is.
    cluster.api.goes_away().await;
    assert_eq!(replica.metrics_with(Some("prometheus")).await.0, 200);
    cluster.api.knows("late", true);
    for _ in 0..2 {
        let (status, page) = replica.metrics_with(Some("late")).await;
        assert_eq!(status, 503, "{page}");
    }
    let told =
        |replica: &Watching| replica.events().iter().filter(|event| matches!(event, Event::ReviewFailed(_))).count();
    assert_eq!(told(&replica), 1, "told once");
    cluster.api.comes_back().await.unwrap();
    assert_eq!(replica.metrics_with(Some("late")).await.0, 200);
}

#[tokio::test]
async fn a_replica_that_may_not_ask_admits_nobody_and_says_which_right_is_missing() {
    let cluster = Cluster::with_pool().await;
    cluster.api.knows("prometheus", true);
    cluster.api.allow(REVIEWS, false);
    let replica = Watching::guarded(&cluster).await;
    let (status, page) = replica.metrics_with(Some("prometheus")).await;
    assert_eq!(status, 503, "{page}");
    let why = replica.events().into_iter().find_map(|event| match event {
        Event::ReviewFailed(why) => Some(why),
        _ => None,
    });
    assert!(why.as_deref().is_some_and(|why| why.contains("must allow create of tokenreviews")), "{why:?}");
    cluster.api.allow(REVIEWS, true);
    eventually(|| async { replica.metrics_with(Some("prometheus")).await.0 == 200 }).await;
}
