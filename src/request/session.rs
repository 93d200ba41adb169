//! The session that a request belongs to, as far as its headers tell.
//!
//! Must not know header names or session bindings.

use crate::id::{EndpointId, SessionKey};

/// A request's session. Both fields are preferences: only endpoints that discovery announced can be chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The endpoint named by the token that an earlier answer gave the client.
    pub token: Option<EndpointId>,
    /// The session's name, hashed.
    pub id: Option<SessionKey>,
}
