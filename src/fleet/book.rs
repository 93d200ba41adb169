//! The book of endpoints: columns by slot, rows by name.

/// x
#[derive(Debug)]
pub struct Entry;
/// x
#[derive(Debug)]
pub struct Fleet;
