//! Readiness that follows from several: ready while all of them are.
//!
//! Must not know what each of them is about.

use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{StreamExt, StreamMap};

use crate::admin::Readiness;
use crate::supervise::Supervisor;

/// What follows from `each`, kept current by the part `name`.
pub(super) fn merged(
    supervisor: &Supervisor,
    name: &str,
    each: Vec<watch::Receiver<Readiness>>,
) -> watch::Receiver<Readiness> {
    let (sender, merged) = watch::channel(all(&each));
    supervisor.lasting(name.to_owned(), move || follow(each.clone(), sender.clone()));
    merged
}

async fn follow(each: Vec<watch::Receiver<Readiness>>, to: watch::Sender<Readiness>) -> Result<(), String> {
    let mut changes: StreamMap<usize, WatchStream<Readiness>> =
        each.iter().cloned().map(WatchStream::new).enumerate().collect();
    while changes.next().await.is_some() {
        to.send_if_modified(|known| {
            let now = all(&each);
            std::mem::replace(known, now) != now
        });
    }
    Ok(())
}

/// Each field is that of the worst.
fn all(each: &[watch::Receiver<Readiness>]) -> Readiness {
    let first = Readiness { synced: true, ..Readiness::default() };
    each.iter().map(|one| *one.borrow()).fold(first, |sum, one| Readiness {
        synced: sum.synced && one.synced,
        joining: sum.joining || one.joining,
        isolated: sum.isolated || one.isolated,
        draining: sum.draining || one.draining,
        down: sum.down.or(one.down),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Clock;
    use crate::telemetry::Telemetry;
    use crate::telemetry::span::Tracer;

    #[tokio::test]
    async fn all_are_ready_or_none_is() {
        let telemetry = Telemetry::new("pool", Tracer::default()).unwrap();
        let supervisor = Supervisor::new(Clock::start(), telemetry, Arc::new(watch::channel(Readiness::default()).0));
        let ready = Readiness { synced: true, ..Readiness::default() };
        let (one, other) = (watch::channel(ready).0, watch::channel(Readiness::default()).0);
        let mut both = merged(&supervisor, "both", vec![one.subscribe(), other.subscribe()]);
        assert!(!both.borrow().is_ready());
        other.send_replace(ready);
        both.wait_for(|both| both.is_ready()).await.unwrap();
        for worse in [
            Readiness { synced: false, ..ready },
            Readiness { joining: true, ..ready },
            Readiness { isolated: true, ..ready },
            Readiness { draining: true, ..ready },
            Readiness { down: Some("scheduler"), ..ready },
        ] {
            one.send_replace(worse);
            assert_eq!(*both.wait_for(|both| !both.is_ready()).await.unwrap(), worse);
            one.send_replace(ready);
            both.wait_for(|both| both.is_ready()).await.unwrap();
        }
        supervisor.stop_all();
    }
}
