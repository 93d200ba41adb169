//! The HTTP shell of the emulated engine: vLLM's routes, streams, errors and metrics page around the pure model.
//!
//! Must not know pickers, and must not decide anything about requests: the model decides what is admitted, when tokens
//! come and what the cache holds.
//!
//! ```text
//! [ client ] -> server -> routes -> ask -> connector -> [ driver: EngineModel, KvCache, Meters ] -> answer -> body
//!                                            |                  ^                 \-> page
//!                                            v                  |
//!                       [ another engine's side_channel -> its driver ]
//! ```

mod answer;
mod ask;
mod body;
mod connector;
mod driver;
mod embeddings;
mod fault;
mod histogram;
mod kv_blocks;
mod kv_cache;
mod kv_params;
mod meters;
mod page;
mod refusal;
mod routes;
mod served;
mod server;
mod side_channel;
mod tokens;

pub use fault::{EngineFault, PageFault};
pub use server::{EngineServer, ServeError, serve, serve_in_tier};

#[cfg(test)]
mod tests;
