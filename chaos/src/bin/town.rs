//! A whole tier on one machine.
fn main() {}
