//! Announces what the watches show, once it is complete and whenever it differs.
//!
//! Must not know watches.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::view::View;
use crate::environment::Announcement;

/// How long changes are gathered before they are announced together.
const TOGETHER: Duration = Duration::from_millis(10);

/// Takes each announcement. The last one stays in force until the next.
pub(super) type Announced = Arc<watch::Sender<Option<Arc<Announcement>>>>;

/// Announces until the last watch is gone.
pub(super) async fn run(mut view: watch::Receiver<View>, announced: Announced) {
    loop {
        let next = view.borrow_and_update().announcement().map(Announcement::canonical);
        if let Some(next) = next
            && announced.borrow().as_deref() != Some(&next)
        {
            announced.send_replace(Some(Arc::new(next)));
        }
        if view.changed().await.is_err() {
            return;
        }
        sleep(TOGETHER).await;
    }
}
