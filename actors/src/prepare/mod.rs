//! What is learned of a request between its body and its decision: producers are asked, all at once.
//!
//! Must not know how a decision is made, nor the streams that wait. Asking is asynchronous and bounded, in number, in
//! bytes and in time; where no answer comes, the request goes on as it was read.

mod preparation;
mod renderer;

pub use preparation::Preparation;
pub use renderer::Renderer;

#[cfg(test)]
pub(crate) mod tests;
