//! Watches objects of one group that refer to the pool: its objectives, and its rules for models.
//!
//! Must not know requests. A cluster may lack the group; then it is looked for again, and requests do without. One that
//! is uninstalled takes its objects with it.

use std::sync::Arc;

use kube::Api;
use kube::core::DynamicObject;
use kube::runtime::watcher::Config;
use murmuration::dialect::kubernetes::condition::{Condition, Verdict};
use murmuration::dialect::kubernetes::pool_ref::{GROUP, GROUP_LEGACY, PoolRef, is_to};
use murmuration::dialect::kubernetes::{objective, rewrite};
use murmuration::request::rewrites::DatedRules;
use tokio::sync::watch;

use super::client::named;
use super::context::Context;
use super::objects::Change;
use super::reader::Reader;
use super::status::{Judged, Judgements, StatusWriter};
use super::view::{Group, View};
use super::watch::{Seen, Step, Watch, Watched};
use crate::replication::Keeping;

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
    /// Whether the current group is installed, so that objects of the legacy one do not count; `None` while that is not
    /// known.
    current: fn(&View) -> Option<bool>,
}

/// InferenceObjectives: their priorities.
pub(super) static OBJECTIVES: Kind<i32> = Kind {
    name: "InferenceObjective",
    plural: "inferenceobjectives",
    resources: ["inferenceobjectives.llm-d.ai", "inferenceobjectives.inference.networking.x-k8s.io"],
    read: |object, pool| objective::priority(&object.data, pool),
    of: |view| &mut view.objectives,
    current: |view| view.objectives[0].is_installed(),
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
    current: |view| view.rewrites[0].is_installed(),
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
    /// What their conditions should say.
    pub(super) judged: Judgements,
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
    /// What writes the conditions of its objects; `keeping` says which of them this replica owns.
    pub(super) fn writer(&self, keeping: Option<Keeping>) -> StatusWriter {
        let superseded: fn(&View) -> Option<bool> = if self.group == 0 { |_| Some(false) } else { self.kind.current };
        StatusWriter {
            context: self.context.clone(),
            namespace: self.namespace.clone(),
            api: self.api(),
            kind: (format!("{}/{VERSION}", GROUPS[self.group]), self.kind.name),
            resource: self.kind.resource(self.group),
            judged: self.judged.clone(),
            view: self.view.clone(),
            superseded,
            keeping,
        }
    }

    fn api(&self) -> Api<DynamicObject> {
        let Kind { name, plural, .. } = self.kind;
        named(&self.context.client, &self.namespace, (GROUPS[self.group], VERSION, name, plural))
    }

    /// What the step means for the conditions of objects. Those of other pools have none from here.
    fn judged(&self, step: &Step<DynamicObject>) -> Change<Judged> {
        let name = |object: &DynamicObject| object.metadata.name.clone().unwrap_or_default();
        match step {
            Step::Init => Change::ListBegins,
            Step::InitDone => Change::ListEnds,
            Step::InitApply(object) => {
                self.judge(object).map_or(Change::Nothing, |judged| Change::Listed(name(object), judged))
            }
            Step::Apply(object) => {
                self.judge(object).map_or_else(|| Change::Gone(name(object)), |one| Change::Set(name(object), one))
            }
            Step::Delete(object) => Change::Gone(name(object)),
        }
    }

    /// `None` for an object of another pool, or one that is being deleted.
    fn judge(&self, object: &DynamicObject) -> Option<Judged> {
        let metadata = &object.metadata;
        if metadata.deletion_timestamp.is_some() {
            return None;
        }
        let verdict = match (self.kind.read)(object, &self.pool) {
            Ok(read) => read.map(|_| Verdict::Accepted)?,
            Err(why) => is_to(&object.data, &self.pool).is_ok_and(|ours| ours).then_some(Verdict::Invalid(why))?,
        };
        let (version, generation) = (metadata.resource_version.clone()?, metadata.generation.unwrap_or(0));
        Some(Judged { version, generation, verdict, condition: Condition::of(&object.data) })
    }

    /// Watches for ever.
    pub(super) async fn run(self) {
        let Kind { name, read, of, .. } = self.kind;
        let resource = self.kind.resource(self.group);
        let watched = Watched { api: self.api(), config: Config::default(), resource, optional: true };
        let mut watch = Watch::new(watched, &self.context.me, self.context.telemetry.clone());
        let mut reader = Reader::new(name, &self.namespace, self.context.telemetry.clone());
        loop {
            let (change, answered, uninstalled) = match watch.next().await {
                Seen::Step(step) => {
                    let judged = self.judged(&step);
                    self.judged.send_if_modified(|objects| objects.take(judged));
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
        let Self { context, namespace, pool, kind, group, view, judged } = self;
        let (context, namespace, pool) = (context.clone(), namespace.clone(), pool.clone());
        Self { context, namespace, pool, kind, group: *group, view: view.clone(), judged: judged.clone() }
    }
}
