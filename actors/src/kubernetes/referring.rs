//! Watches objects of one group that refer to the pool: its objectives, and its rules for models.
//!
//! Must not know requests. A cluster may lack the group; then it is looked for again, and requests do without. One that
//! is uninstalled takes its objects with it.

use std::sync::Arc;

use kube::core::DynamicObject;
use kube::runtime::watcher::Config;
use murmuration::dialect::kubernetes::pool_ref::{GROUP, GROUP_LEGACY, PoolRef};
use murmuration::dialect::kubernetes::{objective, rewrite};
use murmuration::request::rewrites::DatedRules;
use tokio::sync::watch;

use super::client::named;
use super::context::Context;
use super::objects::Change;
use super::reader::Reader;
use super::view::{Group, View};
use super::watch::{Seen, Watch, Watched};

/// The groups, in the order of the view's.
pub(super) const GROUPS: [&str; 2] = [GROUP, GROUP_LEGACY];
const VERSION: &str = "v1alpha2";

/// A kind of objects, read as `T`.
pub(super) struct Kind<T> {
    name: &'static str,
    plural: &'static str,
    /// Under which names the groups are reported.
    resources: [&'static str; 2],
    /// What an object says; `None` where it is of another pool.
    read: fn(&DynamicObject, &PoolRef) -> Result<Option<T>, String>,
    /// Where the view has them.
    of: fn(&mut View) -> &mut [Group<T>; 2],
}

/// InferenceObjectives: their priorities.
pub(super) static OBJECTIVES: Kind<i32> = Kind {
    name: "InferenceObjective",
    plural: "inferenceobjectives",
    resources: ["inferenceobjectives.llm-d.ai", "inferenceobjectives.inference.networking.x-k8s.io"],
    read: |object, pool| objective::priority(&object.data, pool),
    of: |view| &mut view.objectives,
};

/// InferenceModelRewrites: their rules.
pub(super) static REWRITES: Kind<DatedRules> = Kind {
    name: "InferenceModelRewrite",
    plural: "inferencemodelrewrites",
    resources: ["inferencemodelrewrites.llm-d.ai", "inferencemodelrewrites.inference.networking.x-k8s.io"],
    read: |object, pool| {
        let metadata = &object.metadata;
        let created = metadata.creation_timestamp.as_ref().map_or(i64::MAX, |time| time.0.as_second());
        let rules = rewrite::rules(metadata.name.as_deref().unwrap_or_default(), &object.data, pool)?;
        Ok(rules.map(|rules| DatedRules { created, rules }))
    },
    of: |view| &mut view.rewrites,
};

/// What the part needs.
pub(super) struct Referring<T: 'static> {
    pub(super) context: Context,
    pub(super) namespace: String,
    pub(super) pool: PoolRef,
    pub(super) kind: &'static Kind<T>,
    /// The index of the group.
    pub(super) group: usize,
    pub(super) view: Arc<watch::Sender<View>>,
}

// === impl Kind ===

impl<T> Kind<T> {
    /// Under which name the group with this index is reported.
    pub(super) fn resource(&self, group: usize) -> &'static str {
        self.resources[group]
    }
}

// === impl Referring ===

impl<T: PartialEq + Send> Referring<T> {
    /// Watches for ever.
    pub(super) async fn run(self) {
        let Kind { name, plural, read, of, .. } = self.kind;
        let api = named(&self.context.client, &self.namespace, (GROUPS[self.group], VERSION, name, plural));
        let resource = self.kind.resource(self.group);
        let watched = Watched { api, config: Config::default(), resource, optional: true };
        let mut watch = Watch::new(watched, &self.context.me, self.context.telemetry.clone());
        let mut reader = Reader::new(name, &self.namespace, self.context.telemetry.clone());
        loop {
            let (change, answered, uninstalled) = match watch.next().await {
                Seen::Step(step) => {
                    let change = reader.change(step, |object| match object.metadata.deletion_timestamp {
                        Some(_) => Ok(None),
                        None => read(&object, &self.pool),
                    });
                    let answered = matches!(change, Change::ListEnds);
                    (change, answered, false)
                }
                Seen::Failing { answered, uninstalled } => (Change::Nothing, answered, uninstalled),
            };
            self.view.send_if_modified(|view| {
                let group = &mut of(view)[self.group];
                let first = answered && !std::mem::replace(&mut group.answered, true);
                let gone = uninstalled && group.uninstalled();
                group.objects.take(change) || first || gone
            });
        }
    }
}

impl<T> Clone for Referring<T> {
    fn clone(&self) -> Self {
        let Self { context, namespace, pool, kind, group, view } = self;
        let (context, namespace, pool) = (context.clone(), namespace.clone(), pool.clone());
        Self { context, namespace, pool, kind, group: *group, view: view.clone() }
    }
}
