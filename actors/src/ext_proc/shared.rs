//! What all streams of a service share.
//!
//! Must not know a stream.

use std::sync::Arc;

use murmuration::request::Rewrites;
use murmuration::time::Timestamp;
use tokio::sync::watch;

use super::admission::Admission;
use super::id_generator::IdGenerator;
use super::settings::Settings;
use super::telemetry_sink::TelemetrySink;
use crate::prepare::Preparation;

/// Returns the current time of this replica.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What all streams of a service share.
pub(super) struct Shared<A> {
    pub(super) decider: A,
    pub(super) settings: Arc<Settings>,
    pub(super) admission: Admission,
    /// Asked about each request before its decision.
    pub(super) preparation: Option<Preparation>,
    /// The settings with the current salt and rules for models.
    current: watch::Sender<Arc<Settings>>,
    pub(super) sink: Arc<dyn TelemetrySink>,
    pub(super) now: Now,
    pub(super) ids: IdGenerator,
}

// === impl Shared ===

impl<A> Shared<A> {
    pub(super) fn new(decider: A, settings: Settings, sink: Arc<dyn TelemetrySink>, now: Now) -> Self {
        let (admission, settings) = (Admission::new(&settings.limits), Arc::new(settings));
        let current = watch::channel(settings.clone()).0;
        let preparation = Preparation::new(settings.producers.clone());
        Self { decider, settings, admission, preparation, current, sink, now, ids: IdGenerator::default() }
    }

    /// Hashes the prompts of later requests under `tier_salt`.
    pub(super) fn salt(&self, tier_salt: u128) {
        self.current.send_modify(|settings| {
            *settings = Arc::new(Settings { tier_salt, ..Settings::clone(settings) });
        });
    }

    /// Replaces the models of later requests by these rules.
    pub(super) fn rewrite(&self, rewrites: &Rewrites) {
        self.current.send_if_modified(|settings| {
            let differs = *settings.rewrites != *rewrites;
            if differs {
                *settings = Arc::new(Settings { rewrites: Arc::new(rewrites.clone()), ..Settings::clone(settings) });
            }
            differs
        });
    }

    /// The settings of a request that begins now.
    pub(super) fn current(&self) -> Arc<Settings> {
        self.current.borrow().clone()
    }
}
