//! A trace through a tier of replicas, in virtual time.

fn main() -> std::process::ExitCode {
    murmuration_chaos::replay::command::main()
}
