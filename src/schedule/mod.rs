//! From a request and a view of the fleet to a decision.
//!
//! Must not know single plugins, nor where the view came from.

mod admitted;
pub mod candidate;
pub mod cost;
pub mod cycle;
pub mod decision;
pub mod header;
pub mod named;
pub mod pair;
pub mod profile;
pub mod saturation;
pub mod stage;
pub mod steps;
pub mod uncertainty;
pub mod view;

pub use candidate::{Ask, Candidate, SessionMatch};
pub use cost::Cost;
pub use cycle::{Plugins, Profiles, SessionRules, Undecided};
pub use decision::{Decision, Explanation, Leg, Target};
pub use header::Header;
pub use profile::SchedulingProfile;
pub use stage::Stage;
pub use steps::{Step, Steps};
pub use uncertainty::Uncertainty;
pub use view::View;
