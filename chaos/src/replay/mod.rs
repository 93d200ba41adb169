//! `replay`: a trace through a tier of replicas, in virtual time.
//!
//! The minds of the replicas are the real ones (`murmuration::scheduler`), each with a real publisher and real gossip pages;
//! engines are the pure model of `engine/model`; lanes between replicas are modelled ([`lanes`]). So what decisions cost
//! and gain can be told from the seed alone, in seconds, and compared with one replica that knows everything at once (the
//! oracle) and with the ways of others (the baselines).
//!
//! Must not know processes, sockets or clocks.

pub mod ages;
pub mod args;
pub mod command;
pub mod experiment;
pub mod figures;
pub mod lanes;
pub mod plan;
pub mod plot;
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
