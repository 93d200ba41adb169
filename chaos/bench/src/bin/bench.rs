//! The program `bench`; see `murmuration_bench`.

use std::process::ExitCode;

fn main() -> ExitCode {
    murmuration_bench::run(std::env::args_os().collect())
}
