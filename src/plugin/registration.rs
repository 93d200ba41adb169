//! How a plugin of any role is registered: one trait, which says how it is built, what it reads, what the tier keeps
//! for it between requests, and which roles it takes.
//!
//! Must not know configuration files: parameters arrive as deserialized, typed values. A plugin's own crate needs no
//! more than this and the role's trait.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::contract::{Admission, Filter, Picker, ProfileHandler, RequestHook, ResponseHook, Scorer};
use super::producer::Producer;
use super::verdict::Decider;

/// A plugin that a catalog can build. A configuration that declares one gets one instance of it, and all profiles that
/// reference it share the instance. A producer has an instance of its own, which lives as long as its pool; the others
/// are built anew with each start of the scheduler. What it learns reaches other roles as
/// [`InferenceRequest::attributes`] alone.
///
/// [`InferenceRequest::attributes`]: crate::request::InferenceRequest::attributes
pub trait Plugin: Debug + Send + Sync + Sized + 'static {
    /// The type's name in a configuration, such as `queue-scorer`.
    const TYPE: &'static str;
    /// Its parameters: `#[serde(deny_unknown_fields, rename_all = "camelCase", default)]`. The effective configuration
    /// shows them.
    type Parameters: DeserializeOwned + Serialize + Default;
    /// What it reads in addition to the engines' reports.
    const READS: &'static [Produced] = Produced::ALL;

    /// Builds the plugin.
    ///
    /// # Errors
    /// One sentence, if the parameters contradict each other or are out of range.
    fn build(parameters: Self::Parameters) -> Result<Self, Invalid>;

    /// The roles it takes.
    fn roles(self: Arc<Self>) -> Roles;

    /// What the tier keeps for it between requests and shares among replicas. A plugin keeps nothing itself: what one
    /// replica alone knows would make replicas decide differently.
    fn keeps(&self) -> Vec<Kept> {
        Vec::new()
    }

    /// The request headers that it reads. Their values of up to 4,096 bytes are, by the names in lower case, in
    /// [`InferenceRequest::headers`](crate::request::InferenceRequest::headers).
    fn reads_headers(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Data that plugins may read. It is only maintained if a plugin reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Produced {
    /// [`Candidate::matched`](crate::schedule::Candidate::matched) and
    /// [`Candidate::uncached_tokens`](crate::schedule::Candidate::uncached_tokens): `approx-prefix-cache-producer`.
    PrefixMatch,
    /// [`Candidate::in_flight`](crate::schedule::Candidate::in_flight): `inflight-load-producer`.
    InFlightLoad,
}

/// Something that the tier keeps between requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The endpoint of each session: [`Candidate::session`](crate::schedule::Candidate::session).
    Sessions(SessionSource),
}

/// How a plugin identifies a request's session. Header names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionSource {
    /// The client sends back the endpoint that the last answer named:
    /// [`SessionMatch::token`](crate::schedule::SessionMatch::token).
    Token {
        /// The header, in requests and in answers.
        header: String,
    },
    /// The client names the session, and its endpoint is remembered:
    /// [`SessionMatch::id`](crate::schedule::SessionMatch::id).
    Id {
        /// The headers that may name it; the first usable one counts.
        headers: Vec<String>,
        /// How long a session's endpoint is remembered after its last request.
        ttl: Duration,
    },
}

/// The roles of one instance.
#[derive(Clone, Debug, Default)]
pub struct Roles {
    pub(crate) filter: Option<Arc<dyn Filter>>,
    pub(crate) scorer: Option<Arc<dyn Scorer>>,
    pub(crate) picker: Option<Arc<dyn Picker>>,
    pub(crate) profile_handler: Option<Arc<dyn ProfileHandler>>,
    pub(crate) decider: Option<Arc<dyn Decider>>,
    pub(crate) producer: Option<Arc<dyn Producer>>,
    pub(crate) admission: Option<Arc<dyn Admission>>,
    pub(crate) request_hook: Option<Arc<dyn RequestHook>>,
    pub(crate) response_hook: Option<Arc<dyn ResponseHook>>,
}

/// A sentence about parameters that have the right type but an invalid value, for example
/// "affinityThreshold must be within 0 and 1, got 80".
pub type Invalid = String;

/// The parameters of a plugin that takes none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}

// === impl Produced ===

impl Produced {
    /// All of it: the safe default of [`Plugin::READS`].
    pub const ALL: &'static [Self] = &[Self::PrefixMatch, Self::InFlightLoad];
}

// === impl Roles ===

impl Roles {
    /// It removes candidates.
    pub fn filter(plugin: Arc<impl Filter + 'static>) -> Self {
        Self { filter: Some(plugin), ..Self::default() }
    }

    /// It scores candidates.
    pub fn scorer(plugin: Arc<impl Scorer + 'static>) -> Self {
        Self { scorer: Some(plugin), ..Self::default() }
    }

    /// It picks among scored candidates.
    pub fn picker(plugin: Arc<impl Picker + 'static>) -> Self {
        Self { picker: Some(plugin), ..Self::default() }
    }

    /// It chooses the profiles that run.
    pub fn profile_handler(plugin: Arc<impl ProfileHandler + 'static>) -> Self {
        Self { profile_handler: Some(plugin), ..Self::default() }
    }

    /// It decides whether a stage gets an endpoint of its own.
    pub fn decider(plugin: Arc<impl Decider + 'static>) -> Self {
        Self { decider: Some(plugin), ..Self::default() }
    }

    /// It learns something of requests before their decision.
    pub fn producer(plugin: Arc<impl Producer + 'static>) -> Self {
        Self { producer: Some(plugin), ..Self::default() }
    }

    /// It admits or rejects requests.
    pub fn admission(plugin: Arc<impl Admission + 'static>) -> Self {
        Self { admission: Some(plugin), ..Self::default() }
    }

    /// It adds headers to requests.
    pub fn request_hook(plugin: Arc<impl RequestHook + 'static>) -> Self {
        Self { request_hook: Some(plugin), ..Self::default() }
    }

    /// It adds headers to answers.
    pub fn response_hook(plugin: Arc<impl ResponseHook + 'static>) -> Self {
        Self { response_hook: Some(plugin), ..Self::default() }
    }

    /// These roles and those of `other`, for a plugin with several.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            filter: self.filter.or(other.filter),
            scorer: self.scorer.or(other.scorer),
            picker: self.picker.or(other.picker),
            profile_handler: self.profile_handler.or(other.profile_handler),
            decider: self.decider.or(other.decider),
            producer: self.producer.or(other.producer),
            admission: self.admission.or(other.admission),
            request_hook: self.request_hook.or(other.request_hook),
            response_hook: self.response_hook.or(other.response_hook),
        }
    }

    /// The roles' names in error messages, such as "a filter and a scorer".
    pub(crate) fn nouns(&self) -> String {
        let roles = [
            (self.filter.is_some(), "a filter"),
            (self.scorer.is_some(), "a scorer"),
            (self.picker.is_some(), "a picker"),
            (self.profile_handler.is_some(), "a profile handler"),
            (self.decider.is_some(), "a decider"),
            (self.producer.is_some(), "a producer"),
            (self.admission.is_some(), "an admission plugin"),
            (self.request_hook.is_some(), "a request hook"),
            (self.response_hook.is_some(), "a response hook"),
        ];
        let nouns: Vec<&str> = roles.into_iter().filter_map(|(has, noun)| has.then_some(noun)).collect();
        nouns.join(" and ")
    }
}
