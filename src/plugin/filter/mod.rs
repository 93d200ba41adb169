//! Filters: each removes candidates that must not serve the request.
//!
//! Must not know scores.

pub mod header_based_testing;
pub mod label_selector;
pub mod prefix_cache_affinity;
pub mod role;
pub mod session_affinity;
pub mod topology_affinity;

pub use header_based_testing::HeaderBasedTestingFilter;
pub use label_selector::LabelSelectorFilter;
pub use prefix_cache_affinity::PrefixCacheAffinityFilter;
pub use role::{DecodeFilter, EncodeFilter, PrefillFilter};
pub use session_affinity::SessionAffinityFilter;
pub use topology_affinity::TopologyAffinityFilter;
