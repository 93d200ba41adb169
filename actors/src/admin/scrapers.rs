//! Access to `/metrics` where the API server is asked about callers: by their token, as llm-d does it.
//!
//! Must not know what is on the page, nor how the API server is asked. An answer holds for a while, and one that admits
//! holds on while the API server can't be asked: it may be away, and the monitoring is needed most then. No caller is
//! admitted without an answer. Unlike the debug pages, this page is also closed to callers of this machine: behind a
//! mesh's sidecar all callers seem to be of this machine.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::middleware::Next;
use murmuration::event::Event;
use ring::digest::{SHA256, digest};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::answer::error;
use crate::kubernetes::{Review, Reviewer};
use crate::telemetry::Telemetry;

/// How long a caller stays admitted before the API server is asked again.
const ADMITTED_FOR: Duration = Duration::from_secs(60);
/// How long a refusal holds.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// How long an admission holds while the API server can't be asked.
const HELD_FOR: Duration = Duration::from_secs(3_600);
/// The most tokens that are remembered, as digests.
const TOKENS_MAX: usize = 256;
/// The most questions at once.
const QUESTIONS_MAX: usize = 4;
/// The longest token, in bytes.
const TOKEN_MAX: usize = 16 << 10;

/// Who may read `/metrics`: everybody, or whom the API server allows to.
#[derive(Clone, Debug, Default)]
pub struct MetricsAccess(Option<Arc<Asked>>);

/// What is needed to ask.
#[derive(Debug)]
struct Asked {
    reviewer: Reviewer,
    answers: Mutex<Answers>,
    questions: Semaphore,
    telemetry: Telemetry,
    /// Whether it was told that the API server can't be asked.
    told: AtomicBool,
}

/// What the API server said of tokens, by their digests.
#[derive(Debug, Default)]
struct Answers(BTreeMap<[u8; 32], (Review, Instant)>);

/// Whether a caller is admitted.
enum Admission {
    Admitted,
    Unknown,
    Forbidden,
    Unavailable,
}

// === impl MetricsAccess ===

impl MetricsAccess {
    /// Everybody may read the page.
    pub fn open() -> Self {
        Self(None)
    }

    /// `reviewer` is asked.
    pub fn asking(reviewer: Reviewer, telemetry: Telemetry) -> Self {
        let (answers, questions) = (Mutex::default(), Semaphore::new(QUESTIONS_MAX));
        Self(Some(Arc::new(Asked { reviewer, answers, questions, telemetry, told: AtomicBool::new(false) })))
    }
}

/// Runs `next` for callers that are admitted. Others get 401 without a valid token, 403 without the right, and 503
/// where nobody can say.
pub(super) async fn guard(State(access): State<MetricsAccess>, request: Request, next: Next) -> Response<Body> {
    let Some(asked) = access.0 else { return next.run(request).await };
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|shown| shown.to_str().ok());
    let token = shown.and_then(|shown| shown.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
    let token = token.map(|(_, token)| token.trim()).filter(|token| (1..=TOKEN_MAX).contains(&token.len()));
    let admission = match token {
        Some(token) => asked.admits(token).await,
        None => Admission::Unknown,
    };
    let (status, reason, why) = match admission {
        Admission::Admitted => return next.run(request).await,
        Admission::Unknown => (
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "/metrics needs a token of this cluster (Authorization: Bearer; kubectl create token NAME), or start the \
             replica with --metrics-endpoint-auth=false",
        ),
        Admission::Forbidden => (
            StatusCode::FORBIDDEN,
            "forbidden",
            "the bearer of this token may not read /metrics; bind it to a ClusterRole that allows get of the \
             nonResourceURL /metrics",
        ),
        Admission::Unavailable => (
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "the API server can't be asked about this token now; the replica's log says why",
        ),
    };
    asked.telemetry.record(&Event::MetricsRefused(reason));
    let mut answer = error(status, why);
    if status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

// === impl Asked ===

impl Asked {
    async fn admits(&self, token: &str) -> Admission {
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        if let Some(review) = self.answers(|answers| answers.fresh(&key, Instant::now())) {
            return review.into();
        }
        // Whoever floods the port with tokens does not flood the API server.
        let review = match self.questions.try_acquire() {
            Ok(_permit) => self.reviewer.review(token).await,
            Err(_) => return self.held(&key),
        };
        match review {
            Ok(review) => {
                self.told.store(false, Ordering::Relaxed);
                self.answers(|answers| answers.put(key, review, Instant::now()));
                review.into()
            }
            Err(why) => {
                if !self.told.swap(true, Ordering::Relaxed) {
                    self.telemetry.record(&Event::ReviewFailed(why));
                }
                self.held(&key)
            }
        }
    }

    fn held(&self, key: &[u8; 32]) -> Admission {
        let held = self.answers(|answers| answers.held(key, Instant::now()));
        if held { Admission::Admitted } else { Admission::Unavailable }
    }

    fn answers<T>(&self, with: impl FnOnce(&mut Answers) -> T) -> T {
        with(&mut self.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl Answers ===

impl Answers {
    /// What was said of the token a short time ago.
    fn fresh(&self, key: &[u8; 32], now: Instant) -> Option<Review> {
        let (review, at) = self.0.get(key)?;
        let holds = if *review == Review::Allowed { ADMITTED_FOR } else { REFUSED_FOR };
        (now.duration_since(*at) < holds).then_some(*review)
    }

    /// Whether the token was admitted, not too long ago.
    fn held(&self, key: &[u8; 32], now: Instant) -> bool {
        self.0.get(key).is_some_and(|(review, at)| *review == Review::Allowed && now.duration_since(*at) < HELD_FOR)
    }

    /// Remembers an answer. Where there are too many, refusals go first, then the oldest.
    fn put(&mut self, key: [u8; 32], review: Review, now: Instant) {
        self.0.insert(key, (review, now));
        if self.0.len() > TOKENS_MAX {
            let worth = |(review, at): &(Review, Instant)| (*review == Review::Allowed, *at);
            let least = self.0.iter().min_by_key(|(_, known)| worth(known)).map(|(key, _)| *key);
            least.map(|key| self.0.remove(&key));
        }
    }
}

impl From<Review> for Admission {
    fn from(review: Review) -> Self {
        match review {
            Review::Allowed => Self::Admitted,
            Review::Forbidden => Self::Forbidden,
            Review::Unknown => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn answers_hold_for_a_while_and_admissions_longer_where_nobody_can_be_asked() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        answers.put([1; 32], Review::Allowed, now);
        answers.put([2; 32], Review::Forbidden, now);
        assert_eq!(answers.fresh(&[1; 32], now + ADMITTED_FOR - SECOND), Some(Review::Allowed));
        assert_eq!(answers.fresh(&[1; 32], now + ADMITTED_FOR), None);
        assert_eq!(answers.fresh(&[2; 32], now), Some(Review::Forbidden));
        assert_eq!(answers.fresh(&[2; 32], now + REFUSED_FOR), None);
        assert_eq!(answers.fresh(&[3; 32], now), None);
        assert!(answers.held(&[1; 32], now + HELD_FOR - SECOND) && !answers.held(&[1; 32], now + HELD_FOR));
        assert!(!answers.held(&[2; 32], now) && !answers.held(&[3; 32], now));
    }

    #[test]
    fn tokens_that_are_refused_push_out_none_that_is_admitted() {
        let (mut answers, now) = (Answers::default(), Instant::now());
        answers.put([1; 32], Review::Allowed, now);
        for number in 0..2_000_u32 {
            let mut key = [2; 32];
            key[..4].copy_from_slice(&number.to_le_bytes());
            answers.put(key, Review::Unknown, now + SECOND * number);
        }
        assert_eq!(answers.0.len(), TOKENS_MAX);
        assert!(answers.held(&[1; 32], now + SECOND));
    }
}
