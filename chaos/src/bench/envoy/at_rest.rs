//! What pickers use while nobody asks: a replica polls its engines, and Envoy asks for its health.
//!
//! Must not know requests. With few requests in a second, most of what a replica uses is this.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::way::Way;
use crate::bench::{Failure, cpu};

/// Connections are opened after this long.
const WARM_UP: Duration = Duration::from_secs(1);
/// The kernel tells processor time in hundredths of a second; some of them must pass.
const LOOK: Duration = Duration::from_secs(4);

/// The share of a core that the picker of each way uses, all of them at once.
pub(super) async fn cores(ways: &[Way]) -> Result<Vec<f64>, Failure> {
    sleep(WARM_UP).await;
    let (began, before) = (Instant::now(), used(ways)?);
    sleep(LOOK).await;
    let (took, after) = (began.elapsed().as_secs_f64(), used(ways)?);
    Ok(after.iter().zip(before).map(|(after, before)| (*after - before).as_secs_f64() / took).collect())
}

fn used(ways: &[Way]) -> Result<Vec<Duration>, Failure> {
    ways.iter().map(|way| way.picker_pid.map_or(Ok(Duration::ZERO), cpu::used)).collect()
}
