//! The beginning of every program here: its arguments, or the exit code of a wrong or a helpful command line.
//!
//! Must not know any program.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

/// `EX_USAGE`, as `murmuration` has it.
pub const USAGE: u8 = 64;

/// Parses a command line; the first argument is the program's name.
///
/// # Errors
/// The exit code after help, the version or an error was printed.
pub fn parse<C: Parser>(arguments: impl IntoIterator<Item = OsString>) -> Result<C, ExitCode> {
    C::try_parse_from(arguments).map_err(|error| {
        // clap returns help and version as errors that print to standard output; here they are successes.
        let _ = error.print();
        if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
    })
}
