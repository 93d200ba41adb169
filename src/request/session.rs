//! Whose turn of which conversation a request is, as far as its headers say.
//!
//! Must not know headers' names, nor who is bound to whom.

use crate::id::{EndpointId, SessionKey};

/// What a request says of its session. Both are wishes: an endpoint is only chosen among those that discovery announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The endpoint that the client was told to name again.
    pub token: Option<EndpointId>,
    /// The session's own name, hashed.
    pub id: Option<SessionKey>,
}
