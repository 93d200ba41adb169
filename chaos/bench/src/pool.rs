//! The pure scheduler of a replica, with the settings of `murmuration serve`.
//!
//! Must not know what is measured.

use std::time::Duration;

use murmuration::config::blueprint::PrefixSettings;
use murmuration::config::{self, Catalog, ConfigErrors};
use murmuration::fleet::TrustAges;
use murmuration::schedule::Profiles;
use murmuration::scheduler::recent::RECENT_MAX;
use murmuration::scheduler::{Scheduler, SchedulerSettings};

use crate::Failure;

/// The default of `--prefix-index-size`.
pub(crate) const INDEX_BYTES_MAX: usize = 256 << 20;
/// The lease of tickets; longer than any request of a bench is open.
const LEASE: Duration = Duration::from_secs(7200);

/// A scheduler with this configuration that publishes to peers, and the settings of its prefixes.
pub(crate) fn scheduler(config: &str, index_bytes_max: usize) -> Result<(Scheduler, PrefixSettings), Failure> {
    scheduler_that(true, config, index_bytes_max)
}

/// The same; it publishes to peers only where `shares` is set.
pub(crate) fn scheduler_that(
    shares: bool,
    config: &str,
    index_bytes_max: usize,
) -> Result<(Scheduler, PrefixSettings), Failure> {
    let (profiles, settings) = parts(shares, config, index_bytes_max).map_err(|why| why.to_string())?;
    let prefix = settings.prefix.clone();
    Ok((Scheduler::new(profiles, settings), prefix))
}

/// What it is built from.
pub(crate) fn parts(
    shares: bool,
    config: &str,
    index_bytes_max: usize,
) -> Result<(Profiles, SchedulerSettings), ConfigErrors> {
    let blueprint = config::read(config, "the configuration", &Catalog::builtin())?;
    let settings = SchedulerSettings {
        prefix: blueprint.prefix,
        in_flight: blueprint.in_flight,
        saturation: blueprint.saturation,
        index_bytes_max,
        recent_max: RECENT_MAX,
        lease: LEASE,
        sharing: shares,
        trust_ages: TrustAges::default(),
    };
    Ok((blueprint.profiles, settings))
}
