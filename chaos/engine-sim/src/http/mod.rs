//! The HTTP shell of the emulated engine: vLLM's routes, streams, errors and metrics page around the pure model.
//!
//! Must not know pickers, and must not decide anything about requests: the model decides what is admitted, when tokens
//! come and what the cache holds.
//!
//! ```text
//! [ client ] -> server -> routes -> ask -> [ driver: EngineModel, Meters ] -> answer -> body -> [ client ]
//!                                                        \-> page
//! ```

mod answer;
mod ask;
mod body;
mod driver;
mod fault;
mod histogram;
mod meters;
mod page;
mod refusal;
mod routes;
mod server;
mod tokens;

pub use fault::{EngineFault, PageFault};
pub use server::{EngineServer, ServeError, serve};

#[cfg(test)]
mod tests;
