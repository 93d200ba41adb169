//! The cluster in virtual time.
//!
//! Each replica is started by the same `Replica::start` as in production, on a host of its own. The network, the
//! engines, the gateway, the clients and discovery are models. All random numbers follow from the plan's seed.
//!
//! Must not know which behaviour is correct. Two runs of one plan, each in a fresh process, write the same history.

mod course;
mod directory;
mod engine;
mod ext_proc_call;
mod fault_state;
mod gateway;
mod host;
mod net;
mod pair_kills;
mod panics;
mod prompt;
mod recorder;
mod replica;
mod running;

use std::sync::mpsc::sync_channel;
use std::thread;

use murmuration::chance::mix;
use murmuration::config::ConfigErrors;

use crate::history::Entry;
use crate::plan::Plan;
use course::Course;

/// Ticks whose entries may wait for the sink.
const ENTRY_BATCHES_MAX: usize = 64;

/// Why a cluster cannot be simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// A runtime or a thread cannot be created.
    #[error("this machine cannot run the cluster: {0}")]
    Machine(#[from] std::io::Error),
    /// The replicas' configuration is invalid.
    #[error("the replicas' configuration cannot be read: {0}")]
    Config(#[from] ConfigErrors),
    /// A replica could not be started.
    #[error("{0}")]
    Replica(String),
    /// The simulation itself broke.
    #[error("the simulation panicked: {0}")]
    Panicked(String),
}

/// Runs `plan` and passes every entry to `sink` in order, until `sink` returns `false` or the run ends. `seed_entropy`
/// makes all entropy of the calling thread follow from a number; without it a run cannot be repeated.
///
/// # Errors
/// See [`SimError`].
pub fn run(plan: &Plan, seed_entropy: fn(u64), sink: &mut dyn FnMut(Entry) -> bool) -> Result<(), SimError> {
    let (sender, entries) = sync_channel::<Vec<Entry>>(ENTRY_BATCHES_MAX);
    thread::scope(|scope| {
        // A fresh thread, so that the keys of its hash maps follow from the seed.
        let cluster = thread::Builder::new().name("cluster".to_owned()).spawn_scoped(scope, move || {
            seed_entropy(mix(plan.seed ^ 0x746f_776e));
            let mut write = |entries: Vec<Entry>| entries.is_empty() || sender.send(entries).is_ok();
            Course::new(plan, &mut write)?.run()
        })?;
        // Once the sink returns `false` the receiver is dropped, and the cluster stops at its next send.
        let _ = entries.iter().flatten().all(&mut *sink);
        drop(entries);
        cluster.join().unwrap_or_else(|panic| Err(SimError::Panicked(panic_message(panic.as_ref()))))
    })
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no panic message".to_owned())
}
