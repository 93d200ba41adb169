//! The plan to run: drawn from a seed, or read from a file.
//!
//! Must not know what is done with it.

use super::Failure;
use crate::plan::Plan;

/// The plan that `what` names.
///
/// # Errors
/// If `what` is neither a seed nor a file with a valid plan.
pub(super) fn plan(what: &str) -> Result<Plan, Failure> {
    if let Ok(seed) = what.parse() {
        return Ok(Plan::from_seed(seed));
    }
    let text = std::fs::read_to_string(what)
        .map_err(|why| Failure::Usage(format!("{what} is neither a seed nor a readable plan: {why}")))?;
    Plan::read(&text, what).map_err(|why| Failure::Usage(format!("{what}: {why}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_seed_and_anything_else_a_file() {
        assert_eq!(plan("7").unwrap(), Plan::from_seed(7));
        let error = plan("nowhere.yaml").unwrap_err();
        assert!(error.to_string().starts_with("nowhere.yaml is neither a seed nor a readable plan: "), "{error}");
        assert!(matches!(plan("Cargo.toml"), Err(Failure::Usage(why)) if why.starts_with("Cargo.toml: ")));
    }
}
