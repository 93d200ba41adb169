//! The actor that owns one pool's state: it receives messages, runs the pure scheduler, and delivers the output.
//!
//! Must not know scheduling rules, nor where requests come from. Reserve-then-answer is one step of one
//! actor, so a burst never sees the same stale scores twice.

mod actor;
mod announced;
mod handle;
mod message;
mod reservation;
mod stream_queue;

pub use actor::{Build, SchedulerActor, SchedulerArguments};
pub use announced::{Known, changes};
pub use handle::{SchedulerHandle, SchedulerStarts};
pub use message::{Message, Report};
pub use reservation::{Decider, Reservation, TicketOwner, TicketUpdate};
