//! Why the program failed, as one line for people and one number for scripts.
//!
//! Must not know what failed.

use std::process::ExitCode;

use murmuration::config::ConfigErrors;
use murmuration::id::PoolId;

/// `EX_USAGE`: the command line or the configuration is wrong.
pub(super) const USAGE: u8 = 64;
/// Why the program failed, and its exit code.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: u8,
    pub(super) why: String,
}

// === impl Failure ===

impl Failure {
    pub(super) fn new(code: u8, why: impl ToString) -> Self {
        Self { code, why: why.to_string() }
    }

    /// One line with their number, then one line per error that begins with its position, where editors look for it.
    pub(super) fn config(errors: &ConfigErrors) -> Self {
        let count = errors.errors().len();
        let plural = if count == 1 { "error" } else { "errors" };
        Self::new(USAGE, format!("{count} {plural} in the configuration\n{errors}"))
    }

    /// The same for the configuration of a named pool.
    pub(super) fn config_of(pool: &PoolId, errors: &ConfigErrors) -> Self {
        let Self { code, why } = Self::config(errors);
        Self { code, why: format!("pool {pool}: {why}") }
    }

    pub(super) fn report(self) -> ExitCode {
        eprintln!("murmuration: {}", self.why);
        ExitCode::from(self.code)
    }
}
