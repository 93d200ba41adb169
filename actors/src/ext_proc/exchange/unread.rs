//! A request that is whole and not read yet. It has everything that reading needs, so that it can be read elsewhere.
//!
//! Must not know streams or threads.

use std::net::SocketAddr;
use std::sync::Arc;

use murmuration::request::{InferenceRequest, Refusal};

use crate::ext_proc::body::Gathered;
use crate::ext_proc::headers::Head;
use crate::ext_proc::request_builder::RequestBuilder;
use crate::ext_proc::settings::Settings;

/// A whole request.
#[derive(Clone, Debug)]
pub struct Unread {
    pub(super) settings: Arc<Settings>,
    pub(super) head: Head,
    pub(super) id: String,
    pub(super) subset: Option<Vec<SocketAddr>>,
    pub(super) body: Gathered,
}

/// The result of reading a request.
#[derive(Clone, Debug)]
pub struct Read {
    pub(super) head: Head,
    /// The body as it is sent on.
    pub(super) body: Gathered,
    pub(super) request: Result<InferenceRequest, Refusal>,
}

// === impl Unread ===

impl Unread {
    /// Whether reading the request would delay others on the same thread.
    pub(super) fn takes_long(&self) -> bool {
        self.body.len() > self.settings.limits.read_inline_bytes
    }

    /// Reads the request. The time this takes grows with the body, whatever is in it.
    pub fn read(self) -> Read {
        let Self { settings, head, id, subset, mut body } = self;
        let whole = body.whole();
        let read = RequestBuilder { head: &head, id: &id, body: &whole, subset: subset.as_deref() }.read(&settings);
        drop(whole);
        let request = read.map(|(request, edit)| {
            if let Some(edit) = edit {
                body.splice(edit.span, &edit.replacement);
            }
            request
        });
        if request.is_err() {
            body = Gathered::default();
        }
        Read { head, body, request }
    }
}
