//! The town in virtual time: the same `Replica::start` as production, each on a machine of its own; the network, engines, gateway, clients
//! and discovery are models; all chance follows from the plan's seed.
//!
//! Must not know what is right. Two runs of one plan, each in a fresh process, write the same chronicle.

mod course;
mod directory;
mod engine;
mod gateway;
mod host;
mod net;
mod panics;
mod prompt;
mod replica;
mod scribe;
mod talk;
mod town;
mod weather;
mod words;

use std::sync::mpsc::sync_channel;
use std::thread;

use murmuration::chance::mix;
use murmuration::config::ConfigErrors;

use crate::chronicle::Entry;
use crate::plan::Plan;
use course::Course;

/// Ticks whose entries may wait to be judged.
const UNJUDGED_MAX: usize = 64;

/// Why a town can't be simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// There is no runtime, or no thread, to be had.
    #[error("the machine has no room for the town: {0}")]
    Machine(#[from] std::io::Error),
    /// The replicas' configuration is wrong.
    #[error("the replicas' configuration can't be read: {0}")]
    Config(#[from] ConfigErrors),
    /// A replica could not be started.
    #[error("{0}")]
    Replica(String),
    /// The simulation itself broke.
    #[error("the simulation panicked: {0}")]
    Panicked(String),
}

/// Brings `plan` to life and gives `sink` every entry in order, until that is `false` or the run is over.
///
/// # Errors
/// See [`SimError`].
pub fn run(plan: &Plan, sink: &mut dyn FnMut(Entry) -> bool) -> Result<(), SimError> {
    let (sender, entries) = sync_channel::<Vec<Entry>>(UNJUDGED_MAX);
    thread::scope(|scope| {
        // A thread that has done nothing yet: its hash maps have the seed's keys.
        let town = thread::Builder::new().name("town".to_owned()).spawn_scoped(scope, move || {
            murmuration_entropy::seed(mix(plan.seed ^ 0x746f_776e));
            let mut write = |entries: Vec<Entry>| entries.is_empty() || sender.send(entries).is_ok();
            Course::new(plan, &mut write)?.run()
        })?;
        // Whoever has seen enough hangs up, and the town ends with its next word.
        let _ = entries.iter().flatten().all(&mut *sink);
        drop(entries);
        town.join().unwrap_or_else(|panic| Err(SimError::Panicked(said(panic.as_ref()))))
    })
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}
