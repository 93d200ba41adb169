//! Tests of preparation against renderers that answer well, badly, late or never.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use murmuration::config::blueprint::RendererSettings;
use murmuration::event::Event;
use murmuration::plugin::{Learned, Learning, Producer, Unprepared};
use murmuration::prefix::PrefixChain;
use murmuration::request::{InferenceRequest, Prompt};
use murmuration::schedule::named::Named;
use tokio::net::TcpListener;

use super::preparation::{BODY_BYTES_MAX, BYTES_MAX, PREPARING_MAX};
use super::*;
use crate::ext_proc::body::Gathered;

/// A renderer whose answers are `body`, after `delay`.
pub(crate) async fn renderer(status: StatusCode, body: &'static str, delay: Duration) -> u16 {
    let answer = move || async move {
        tokio::time::sleep(delay).await;
        (status, body)
    };
    let router =
        Router::new().route("/v1/completions/render", post(answer)).route("/v1/chat/completions/render", post(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    #[expect(clippy::disallowed_methods, reason = "ends with the test")]
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

fn preparation(port: u16) -> Preparation {
    let (timeout, media_timeout) = (Duration::from_millis(500), Duration::from_secs(5));
    let settings = RendererSettings { host: "127.0.0.1".into(), port, timeout, media_timeout };
    Preparation::new(vec![Renderer::producer(settings)]).unwrap()
}

/// The length of a prompt of 40 estimated tokens after preparation, and the result's label.
async fn prepared(preparation: &Preparation, path: &str) -> (u64, Option<&'static str>) {
    let prompt = Prompt::estimated(40, 0, PrefixChain::default());
    let mut request = InferenceRequest { prompt, ..InferenceRequest::default() };
    let mut body = Gathered::default();
    body.push(b"{}".to_vec(), u64::MAX).unwrap();
    let events = preparation.prepare(path, &body, &mut request, Duration::from_secs(10)).await;
    let result = events.into_iter().next().map(|event| match event {
        Event::Prepared { producer: "token-producer", result } => result,
        other => panic!("{other:?}"),
    });
    (request.prompt.tokens, result)
}

#[tokio::test]
async fn a_renderer_counts_the_tokens_of_chats_and_of_completions() {
    let one = preparation(renderer(StatusCode::OK, r#"{"token_ids":[1,2072,201],"model":"m"}"#, Duration::ZERO).await);
    assert_eq!(prepared(&one, "/v1/chat/completions?x=1").await, (3, Some("ok")));
    assert_eq!(prepared(&one, "/v1/chat/completions").await, (3, Some("ok")), "by the same connection");
    let body = r#"[{"token_ids":[786,654]},{"token_ids":[14]}]"#;
    let several = preparation(renderer(StatusCode::OK, body, Duration::ZERO).await);
    assert_eq!(prepared(&several, "/v1/completions").await, (3, Some("ok")));
    assert_eq!(prepared(&several, "/v1/embeddings").await, (40, None), "nobody is asked");
}

#[tokio::test]
async fn without_an_answer_the_estimate_counts_and_the_reason_is_told() {
    let refused = preparation(renderer(StatusCode::FORBIDDEN, "no", Duration::ZERO).await);
    assert_eq!(prepared(&refused, "/v1/completions").await, (40, Some("status")));
    let torn = preparation(renderer(StatusCode::OK, r#"{"token_ids":[1,"#, Duration::ZERO).await);
    assert_eq!(prepared(&torn, "/v1/completions").await, (40, Some("malformed")));
    let late = preparation(renderer(StatusCode::OK, r#"{"token_ids":[]}"#, Duration::from_secs(30)).await);
    assert_eq!(prepared(&late, "/v1/completions").await, (40, Some("timeout")));
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    assert_eq!(prepared(&preparation(closed), "/v1/completions").await, (40, Some("connect")));
}

#[tokio::test]
async fn beyond_the_bound_requests_go_on_as_they_are() {
    let port = renderer(StatusCode::OK, r#"{"token_ids":[1]}"#, Duration::ZERO).await;
    let preparation = preparation(port);
    let all = preparation.permits.try_acquire_many(u32::try_from(PREPARING_MAX).unwrap()).unwrap();
    assert_eq!(prepared(&preparation, "/v1/completions").await, (40, Some("busy")));
    drop(all);
    let all = preparation.units.try_acquire_many(u32::try_from(BYTES_MAX >> 10).unwrap()).unwrap();
    assert_eq!(prepared(&preparation, "/v1/completions").await, (40, Some("busy")));
    drop(all);
    let mut request = InferenceRequest::default();
    let mut long = Gathered::default();
    long.push(vec![b' '; BODY_BYTES_MAX + 1], u64::MAX).unwrap();
    let events = preparation.prepare("/v1/completions", &long, &mut request, Duration::from_secs(10)).await;
    assert_eq!(events, [Event::Prepared { producer: "token-producer", result: "too-large" }]);
    assert_eq!(prepared(&preparation, "/v1/completions").await, (1, Some("ok")));
}

/// Learns an attribute after a while, or fails.
#[derive(Debug)]
struct Slow(&'static str, Duration, Result<&'static str, &'static str>);

impl Producer for Slow {
    fn deadline(&self, path: &str, _: &InferenceRequest) -> Option<Duration> {
        (path == "/v1/completions").then_some(Duration::from_secs(2))
    }

    fn learn<'a>(&'a self, asked: Unprepared<'a>) -> Learning<'a> {
        Box::pin(async move {
            tokio::time::sleep(self.1).await;
            assert_eq!(asked.body.as_ref(), b"{}");
            let attribute = |value: &str| (self.0.to_owned(), value.to_owned());
            self.2.map(|value| Learned { attributes: vec![attribute(value)], ..Learned::default() })
        })
    }
}

#[tokio::test(start_paused = true)]
async fn producers_are_asked_at_once_and_each_has_its_own_result() {
    let second = Duration::from_secs(1);
    let slow = [
        Slow("a", second, Ok("1")),
        Slow("b", 9 * second, Ok("2")),
        Slow("c", second, Err("refused")),
        Slow("d", second, Ok("4")),
    ];
    let named = slow.map(|slow| Named::new(slow.0, slow.0, Arc::new(slow) as Arc<dyn Producer>));
    let preparation = Preparation::new(named.into()).unwrap();
    let mut body = Gathered::default();
    body.push(b"{}".to_vec(), u64::MAX).unwrap();
    let (mut request, began) = (InferenceRequest::default(), tokio::time::Instant::now());
    let events = preparation.prepare("/v1/completions", &body, &mut request, 10 * second).await;
    assert_eq!(began.elapsed(), 2 * second, "the deadline of the slowest");
    let results = [("a", "ok"), ("b", "timeout"), ("c", "refused"), ("d", "ok")];
    assert_eq!(events, results.map(|(producer, result)| Event::Prepared { producer, result }));
    let learned = ["a", "b", "c", "d"].map(|name| request.attributes.get(name).map(str::to_owned));
    assert_eq!(learned, [Some("1".to_owned()), None, None, Some("4".to_owned())]);
    let events = preparation.prepare("/v1/embeddings", &body, &mut request, 10 * second).await;
    assert!(events.is_empty() && Preparation::new(Vec::new()).is_none());
}
