//! What a replica does all the time beside serving: tell the pool what is announced, follow its certificate.
//!
//! Must not know how a replica is put together.

use super::Tls;
use crate::pool::PoolHandle;
use crate::telemetry::Telemetry;
use crate::tls::ServerTls;
use crate::world::{Announcement, Feed};

/// Follows the certificate that comes from a folder; ends at once where none does.
pub(super) async fn follow_certificate(of: Tls, tls: Option<ServerTls>, telemetry: Telemetry) {
    if let (Tls::Folder(folder), Some(tls)) = (of, tls) {
        tls.follow(folder, move |event| telemetry.record(&event)).await;
    }
}

/// Tells the pool what is announced, from what is announced already.
pub(super) async fn announce(feed: Option<Feed>, pool: PoolHandle) {
    let Some(mut feed) = feed else { return };
    loop {
        if let Some(Announcement { endpoints, objectives }) = feed.borrow_and_update().clone() {
            pool.announced(endpoints, objectives);
        }
        if feed.changed().await.is_err() {
            return;
        }
    }
}
