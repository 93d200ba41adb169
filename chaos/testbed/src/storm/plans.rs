//! Plans by name or path.
//!
//! Must not know how a plan is run. The shipped ones are part of the program, so that it needs no folder.

use std::path::Path;
use std::time::Duration;

use murmuration_simulation::plan::{Plan, PlanError};

/// No fault of a short storm lasts less than this, unless the plan itself makes it shorter: detection takes time.
const LEAST: Duration = Duration::from_secs(2);

macro_rules! shipped {
    ($($name:literal),* $(,)?) => { [$(($name, include_str!(concat!("../../../plans/", $name, ".yaml")))),*] };
}

/// Names and texts of the plans that come with the program.
pub const SHIPPED: [(&str, &str); 11] = shipped![
    "kill-one",
    "kill-all-but-one",
    "rolling-restart",
    "freeze",
    "partition-zones",
    "lossy-links",
    "late-links",
    "engine-churn",
    "everything",
    "zone-lost",
    "scale",
];

/// The plan called `what`, or in the file `what`.
///
/// # Errors
/// [`PlanError`]; for an unknown name it lists the known ones.
pub fn find(what: &str) -> Result<Plan, PlanError> {
    if let Some((name, text)) = SHIPPED.iter().find(|(name, _)| *name == what) {
        return Plan::read(text, name);
    }
    let names = SHIPPED.map(|(name, _)| name).join(", ");
    let text = std::fs::read_to_string(Path::new(what))
        .map_err(|why| PlanError::Unreadable(format!("{what}: {why}; give a file, or one of {names}")))?;
    Plan::read(&text, what)
}

/// The same plan with all times halved; a fault still lasts at least [`LEAST`], unless the plan makes it shorter.
pub(super) fn shorter(mut plan: Plan) -> Plan {
    plan.duration /= 2;
    for strike in &mut plan.faults {
        strike.at /= 2;
        strike.lasting = (strike.lasting / 2).max(LEAST.min(strike.lasting));
    }
    plan
}
