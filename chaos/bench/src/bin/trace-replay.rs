//! The program `trace-replay`; see `murmuration_bench::trace_replay`.

fn main() -> std::process::ExitCode {
    murmuration_bench::trace_replay::command::main()
}
