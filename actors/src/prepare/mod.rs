//! What is learned of a request between its body and its decision, by asking others: so far its length in tokens.
//!
//! Must not know how a decision is made, nor the streams that wait. Asking is asynchronous and bounded, in number and in
//! time; where no answer comes, the request goes on as it was read.

mod preparation;
mod renderer;

use std::time::Duration;

use async_trait::async_trait;
use murmuration::request::InferenceRequest;

pub use preparation::Preparation;
pub use renderer::Renderer;

/// Learns something of a request.
#[async_trait]
pub trait Producer: Send + Sync {
    /// Its name in events.
    fn name(&self) -> &'static str;

    /// How long it may take for this request; `None` where it has nothing to say of requests with this path.
    fn deadline(&self, path: &str, request: &InferenceRequest) -> Option<Duration>;

    /// Completes `request`, which was sent to `path` with this body.
    ///
    /// # Errors
    /// A stable label of the reason; the request is unchanged then.
    async fn prepare(&self, path: &str, body: Vec<u8>, request: &mut InferenceRequest) -> Result<(), &'static str>;
}

#[cfg(test)]
pub(crate) mod tests;
