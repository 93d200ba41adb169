//! The shelf of plugins.

/// The shelf of plugins.
#[derive(Debug, Default)]
pub struct Catalog {}
