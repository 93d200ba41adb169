//! Asks the API server who the bearer of a token is, and whether he may read `/metrics`.
//!
//! Must not know who asks, nor how long an answer holds.

use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::timeout;

use super::failure::Failure;

/// How long both questions may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// The path that is asked about.
const PATH: &str = "/metrics";

/// Asks the API server.
#[derive(Clone)]
pub struct Reviewer(Client);

/// What the API server says of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Review {
    /// Its bearer may read `/metrics`.
    Allowed,
    /// It is valid, and its bearer may not.
    Forbidden,
    /// It is not valid.
    Unknown,
}

// === impl Reviewer ===

impl Reviewer {
    /// Asks through `client`, whose user must be allowed to create both kinds of reviews.
    pub fn new(client: Client) -> Self {
        Self(client)
    }

    /// What the API server says of `token`.
    ///
    /// # Errors
    /// One sentence, when it does not answer in time, or refuses to.
    pub async fn review(&self, token: &str) -> Result<Review, String> {
        let review = async {
            match self.bearer(token).await? {
                None => Ok(Review::Unknown),
                Some(bearer) => Ok(if self.may_read(bearer).await? { Review::Allowed } else { Review::Forbidden }),
            }
        };
        let late = |_| format!("the API server did not answer within {} s", DEADLINE.as_secs());
        timeout(DEADLINE, review).await.map_err(late)?
    }

    /// Whose token it is; `None` for one that is not valid.
    async fn bearer(&self, token: &str) -> Result<Option<UserInfo>, String> {
        let spec = TokenReviewSpec { token: Some(token.to_owned()), audiences: None };
        let review = TokenReview { spec, ..TokenReview::default() };
        let api: Api<TokenReview> = Api::all(self.0.clone());
        let answer = api.create(&PostParams::default(), &review).await.map_err(|error| why(&error, "tokenreviews"))?;
        let status = answer.status.unwrap_or_default();
        Ok(status.user.filter(|_| status.authenticated == Some(true)))
    }

    async fn may_read(&self, bearer: UserInfo) -> Result<bool, String> {
        let UserInfo { username, uid, groups, extra } = bearer;
        let (path, verb) = (Some(PATH.to_owned()), Some("get".to_owned()));
        let non_resource_attributes = Some(NonResourceAttributes { path, verb });
        let spec = SubjectAccessReviewSpec {
            user: username,
            uid,
            groups,
            extra,
            non_resource_attributes,
            ..Default::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let api: Api<SubjectAccessReview> = Api::all(self.0.clone());
        let answer = api.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|error| why(&error, "subjectaccessreviews"))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}

impl std::fmt::Debug for Reviewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reviewer").finish_non_exhaustive()
    }
}

fn why(error: &kube::Error, resource: &str) -> String {
    Failure::of_review(error, resource).why
}
