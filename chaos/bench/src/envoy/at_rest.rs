//! The processor time of pickers without requests: a replica polls its engines, and Envoy checks its health.
//!
//! Must not know requests. With few requests per second, this is most of what a replica uses.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::way::Way;
use murmuration_kit::machine::cpu_used;

use crate::Failure;

/// After this time, connections are open.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long to measure. The kernel reports processor time in hundredths of a second; some of them must pass.
const MEASURED: Duration = Duration::from_secs(4);

/// The share of a core that the picker of each way uses, all of them at once.
pub(super) async fn cores(ways: &[Way]) -> Result<Vec<f64>, Failure> {
    sleep(WARM_UP).await;
    let (began, before) = (Instant::now(), used(ways)?);
    sleep(MEASURED).await;
    let (took, after) = (began.elapsed().as_secs_f64(), used(ways)?);
    Ok(after.iter().zip(before).map(|(after, before)| (*after - before).as_secs_f64() / took).collect())
}

fn used(ways: &[Way]) -> Result<Vec<Duration>, Failure> {
    ways.iter().map(|way| way.picker_pid.map_or(Ok(Duration::ZERO), cpu_used)).collect()
}
