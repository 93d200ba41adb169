//! `trace-replay`: replays a trace through a tier of replicas, in virtual time.
//!
//! The schedulers are the real ones (`murmuration::scheduler`), each with a real fact log and real gossip pages.
//! Engines are the pure model of `murmuration_engine_sim::model`. Lanes between replicas are modelled ([`lanes`]). So
//! the cost and gain of decisions follow from the seed alone, in seconds. They are compared with one replica that knows
//! everything at once (the oracle), and with other ways of routing (the baselines).
//!
//! Must not know processes, sockets or clocks.

pub mod ages;
pub mod args;
pub mod bounds;
pub mod command;
pub mod compare;
pub mod experiment;
pub mod figures;
pub mod lanes;
pub mod legs;
pub mod plan;
pub mod plot;
pub mod price;
pub mod prompt;
pub mod queue;
pub mod replica;
pub mod report;
pub mod simulation;
pub mod station;
pub mod tally;
pub mod tempo;
pub mod trace;
pub mod workload;

pub use plan::Plan;
pub use simulation::run;
pub use tally::Outcome;
pub use tempo::{Demand, Tempo};
