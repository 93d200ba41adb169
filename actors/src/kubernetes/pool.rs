//! Watches the InferencePool.
//!
//! Must not know its pods. A pool that was deleted counts as missing only after a pause: one that is replaced at once
//! (`kubectl replace --force`, a chart that is installed anew) costs no replica what it knows of the endpoints. Then its
//! endpoints are withdrawn, and the replica is not ready, as llm-d does: a gateway has no route to a pool that does not
//! exist. A CRD that is gone says nothing about pools; so does an object with a wrong field.

use std::sync::Arc;
use std::time::Duration;

use kube::core::DynamicObject;
use kube::runtime::watcher::Config;
use murmuration::dialect::kubernetes::pool::{Pool, read};
use murmuration::dialect::kubernetes::pool_ref::PoolRef;
use murmuration::event::Event;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::client::named;
use super::context::Context;
use super::objects::Objects;
use super::reader::Reader;
use super::view::{PoolView, View};
use super::watch::{Seen, Step, Watch, Watched};

/// How long a pool that was there may be gone before its endpoints are withdrawn.
const GRACE: Duration = Duration::from_secs(10);
/// The version of InferencePools that is read.
const VERSION: &str = "v1";

/// What the part needs.
#[derive(Clone)]
pub(super) struct PoolWatch {
    pub(super) context: Context,
    pub(super) namespace: String,
    pub(super) pool: PoolRef,
    pub(super) view: Arc<watch::Sender<View>>,
}

/// The pool as far as it was seen.
struct Current {
    part: PoolWatch,
    reader: Reader,
    /// A pool that can't be used is kept as the reason, because it is not gone.
    objects: Objects<Result<Pool, String>>,
    /// When it counts as missing.
    missing_at: Option<Instant>,
}

// === impl PoolWatch ===

impl PoolWatch {
    /// Watches for ever.
    pub(super) async fn run(self) {
        let resource = "inferencepools";
        let api = named(&self.context.client, &self.namespace, (&self.pool.group, VERSION, "InferencePool", resource));
        let config = Config::default().fields(&format!("metadata.name={}", self.pool.name));
        let watched = Watched { api, config, resource, optional: false };
        let mut watch = Watch::new(watched, &self.context.me, self.context.telemetry.clone());
        let reader = Reader::new("InferencePool", &self.namespace, self.context.telemetry.clone());
        let mut current = Current { part: self, reader, objects: Objects::default(), missing_at: None };
        loop {
            let missing_at = current.missing_at;
            tokio::select! {
                seen = watch.next() => if let Seen::Step(step) = seen { current.take(step) },
                () = sleep_until(missing_at.unwrap_or_else(Instant::now)), if missing_at.is_some() => current.withdraw(),
            }
        }
    }

    fn found(&self, pool: &Pool) {
        let known = PoolView::Known(pool.clone());
        let changed = self.view.send_if_modified(|view| view.pool_is(known));
        if changed {
            let Pool { selector, ports, .. } = pool;
            let what = format!("InferencePool {}: pods {selector}, ports {ports:?}", self.shown());
            self.context.telemetry.record(&Event::Reloaded(what));
        }
    }

    /// What was known of it stays in force.
    fn refused(&self, why: &str) {
        let object = format!("InferencePool {}", self.shown());
        self.context.telemetry.record(&Event::ObjectRefused { object, why: why.to_owned() });
    }

    fn shown(&self) -> String {
        format!("{}/{}", self.namespace, self.pool.name)
    }
}

// === impl Current ===

impl Current {
    fn take(&mut self, step: Step<DynamicObject>) {
        let change = self.reader.change(step, |object| {
            // One that is being deleted is gone, even if something still holds it.
            let exists = object.metadata.deletion_timestamp.is_none();
            Ok(exists.then(|| read(&object.data)))
        });
        if !self.objects.take(change) {
            return;
        }
        match self.objects.known().map(|known| known.get(&self.part.pool.name)) {
            None => {}
            Some(None) => {
                let pause = if self.part.view.borrow().selector().is_some() { GRACE } else { Duration::ZERO };
                self.missing_at.get_or_insert(Instant::now() + pause);
            }
            Some(Some(Ok(pool))) => {
                self.missing_at = None;
                self.part.found(pool);
            }
            Some(Some(Err(why))) => {
                self.missing_at = None;
                self.part.refused(why);
            }
        }
    }

    fn withdraw(&mut self) {
        self.missing_at = None;
        // The part that watches pods drops them when it sees that there is no selector: until then its watch goes on.
        let changed = self.part.view.send_if_modified(|view| view.pool_is(PoolView::Missing));
        if changed {
            self.part.context.telemetry.record(&Event::PoolMissing { pool: self.part.shown() });
        }
    }
}
