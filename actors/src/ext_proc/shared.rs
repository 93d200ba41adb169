//! What all streams of a service share.
//!
//! Must not know a stream.

use std::sync::Arc;

use murmuration::time::Timestamp;
use tokio::sync::watch;

use super::admission::Admission;
use super::id_generator::IdGenerator;
use super::settings::Settings;
use super::telemetry_sink::TelemetrySink;
use crate::environment::Announcement;
use crate::prepare::Preparation;
use crate::scheduler::Known;

/// Returns the current time of this replica.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What all streams of a service share.
pub(super) struct Shared<A> {
    pub(super) decider: A,
    pub(super) settings: Arc<Settings>,
    pub(super) admission: Admission,
    /// Asked about each request before its decision.
    pub(super) preparation: Option<Preparation>,
    /// The settings with the current salt, and with the rules of the announcement beside them.
    current: watch::Sender<(Arc<Settings>, Option<Arc<Announcement>>)>,
    /// What discovery announces, for the rules of models.
    announced: Known,
    pub(super) sink: Arc<dyn TelemetrySink>,
    pub(super) now: Now,
    pub(super) ids: IdGenerator,
}

// === impl Shared ===

impl<A> Shared<A> {
    pub(super) fn new(
        decider: A,
        (settings, announced): (Settings, Known),
        sink: Arc<dyn TelemetrySink>,
        now: Now,
    ) -> Self {
        let (admission, settings) = (Admission::new(&settings.limits), Arc::new(settings));
        let current = watch::channel((settings.clone(), None)).0;
        let preparation = Preparation::new(settings.producers.clone());
        Self { decider, settings, admission, preparation, current, announced, sink, now, ids: IdGenerator::default() }
    }

    /// Hashes the prompts of later requests under `tier_salt`.
    pub(super) fn salt(&self, tier_salt: u128) {
        self.current.send_modify(|(settings, _)| {
            *settings = Arc::new(Settings { tier_salt, ..Settings::clone(settings) });
        });
    }

    /// The settings of a request that begins now. Its rules for models are those that were announced last, together
    /// with the endpoints that it may go to: no request finds an endpoint before it finds the rules.
    pub(super) fn current(&self) -> Arc<Settings> {
        let announced = self.announced.borrow().clone();
        let (settings, of) = self.current.borrow().clone();
        match announced {
            Some(announced) if !of.is_some_and(|of| Arc::ptr_eq(&of, &announced)) => self.follow(announced),
            _ => settings,
        }
    }

    fn follow(&self, announced: Arc<Announcement>) -> Arc<Settings> {
        let mut current = None;
        self.current.send_modify(|(settings, of)| {
            if settings.rewrites.as_deref() != Some(&announced.rewrites) {
                let rewrites = Some(Arc::new(announced.rewrites.clone()));
                *settings = Arc::new(Settings { rewrites, ..Settings::clone(settings) });
            }
            *of = Some(announced);
            current = Some(settings.clone());
        });
        current.unwrap_or_else(|| self.settings.clone())
    }
}

#[cfg(test)]
mod tests {
    use murmuration::request::rewrites::{DatedRules, Rewrite, RewriteRule, Rewrites};

    use super::*;
    use crate::ext_proc::exchange::tests::settings;
    use crate::ext_proc::fake::Table;

    fn announcement(target: &str) -> Option<Arc<Announcement>> {
        let rewrite = Rewrite { name: "rule".to_owned(), targets: vec![(target.to_owned(), 1)] };
        let rules = DatedRules { created: 0, rules: vec![RewriteRule { models: None, rewrite }] };
        Some(Arc::new(Announcement { rewrites: Rewrites::oldest_first([&rules]), ..Announcement::default() }))
    }

    #[test]
    fn a_request_has_the_rules_that_were_announced_when_it_began() {
        let (announced, known) = watch::channel(None);
        let table = Table::default();
        let unknown = Settings { rewrites: None, ..settings() };
        let shared =
            Shared::new(table.clone(), (unknown, known), Arc::new(table), Arc::new(|| Timestamp::from_micros(0)));
        assert_eq!(shared.current().rewrites, None);
        let target = |shared: &Shared<Table>| {
            let rewrites = shared.current().rewrites.clone();
            rewrites.and_then(|rules| rules.target("model", || 0).map(|(_, target)| target.to_owned()))
        };
        for one in ["a", "b"] {
            announced.send_replace(announcement(one));
            assert_eq!(target(&shared).as_deref(), Some(one));
            shared.salt(7);
            assert_eq!((target(&shared).as_deref(), shared.current().tier_salt), (Some(one), 7));
        }
        announced.send_replace(announcement("b"));
        let before = shared.current();
        assert!(Arc::ptr_eq(&before, &shared.current()), "equal rules change nothing");
    }
}
