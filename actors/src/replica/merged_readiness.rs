//! Readiness that follows from several: ready while all of them are.
//!
//! Must not know what each of them is about.

use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{StreamExt, StreamMap};

use crate::admin::Readiness;
use crate::supervise::Supervisor;

/// What follows from `each`, kept current by the part `readiness NAME`.
pub(super) fn merged(
    supervisor: &Supervisor,
    name: &str,
    each: Vec<watch::Receiver<Readiness>>,
) -> watch::Receiver<Readiness> {
    let (sender, merged) = watch::channel(all(&each));
    supervisor.lasting(format!("readiness {name}"), move || follow(each.clone(), sender.clone()));
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
