//! Writes the condition `Accepted` of the objects of one kind and group, without a leader: each object has one owner
//! among the live replicas, by rendezvous hashing, and only the owner writes. When it is lost, the next one does.
//!
//! Must not know what the objects say. Nothing is written where the status is right already. A write names the version
//! that was seen, so of two replicas that both believe to be the owner one succeeds, and the other sees that all is
//! said. A replica that may not write says so once, and serves on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use murmuration::dialect::kubernetes::condition::{Condition, Verdict};
use murmuration::event::Event;
use murmuration::id::EndpointId;
use murmuration::replication::Keepers;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;

use super::context::Context;
use super::failure::{Failure, Kind};
use super::objects::Objects;
use super::view::View;
use crate::clock::wall_clock;
use crate::replication::Keeping;

/// The field manager of conditions.
const MANAGER: &str = "murmuration";
/// The pause after writes, and after failures. It bounds how often two replicas that disagree correct each other.
const PAUSE: Duration = Duration::from_secs(1);
const FAILED_PAUSE: Duration = Duration::from_secs(10);

/// An object as far as its condition matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judged {
    /// Its `resourceVersion`.
    pub(super) version: String,
    pub(super) generation: i64,
    pub(super) verdict: Verdict,
    pub(super) condition: Option<Condition>,
}

/// The objects of one kind and group that refer to the pool.
pub(super) type Judgements = Arc<watch::Sender<Objects<Judged>>>;

/// What the part needs.
#[derive(Clone)]
pub(super) struct StatusWriter {
    pub(super) context: Context,
    pub(super) namespace: String,
    pub(super) api: Api<DynamicObject>,
    /// `group/version` and kind of the objects.
    pub(super) kind: (String, &'static str),
    /// Their kind, as metrics and log lines name it.
    pub(super) resource: &'static str,
    pub(super) judged: Judgements,
    pub(super) view: Arc<watch::Sender<View>>,
    /// Whether objects of this group count for nothing; `None` while that is not known.
    pub(super) superseded: fn(&View) -> Option<bool>,
    /// Who owns what; `None` for a replica without peers.
    pub(super) keeping: Option<Keeping>,
}

/// What became of a round of writes.
#[derive(Default)]
struct Round {
    written: bool,
    failed: bool,
}

/// One object to write.
struct Due {
    name: String,
    verdict: Verdict,
    judged: Judged,
}

// === impl StatusWriter ===

impl StatusWriter {
    /// Writes for ever.
    pub(super) async fn run(self) {
        let (mut judged, mut view) = (self.judged.subscribe(), self.view.subscribe());
        let mut keepers = self.keeping.as_ref().map(Keeping::changes);
        // The versions that were written over, until the watch shows what came of it.
        let mut written = BTreeMap::new();
        let mut denied = false;
        loop {
            let superseded = (self.superseded)(&view.borrow_and_update());
            let due = {
                let objects = judged.borrow_and_update();
                superseded.map(|superseded| self.due(&objects, superseded, &mut written)).unwrap_or_default()
            };
            let mut round = Round::default();
            for due in due {
                self.write(due, &mut written, (&mut denied, &mut round)).await;
                if round.failed {
                    break;
                }
            }
            match round {
                Round { failed: true, .. } => sleep(FAILED_PAUSE).await,
                Round { written: true, .. } => sleep(PAUSE).await,
                Round { .. } => {
                    tokio::select! {
                        changed = judged.changed() => if changed.is_err() { return },
                        changed = view.wait_for(|view| (self.superseded)(view) != superseded) => drop(changed),
                        () = changed(keepers.as_mut()) => {}
                    }
                }
            }
        }
    }

    /// The objects whose condition this replica has to write.
    fn due(&self, objects: &Objects<Judged>, superseded: bool, written: &mut BTreeMap<String, String>) -> Vec<Due> {
        let known = objects.known();
        written.retain(|name, version| known.and_then(|all| all.get(name)).is_some_and(|one| one.version == *version));
        let due = |(name, judged): (&String, &Judged)| {
            let verdict = if superseded { Verdict::Superseded } else { judged.verdict.clone() };
            let right = verdict.is_said_by(judged.condition.as_ref(), judged.generation);
            let wanted = !right && !written.contains_key(name) && self.owns(name);
            wanted.then(|| Due { name: name.clone(), verdict, judged: judged.clone() })
        };
        known.into_iter().flatten().filter_map(due).collect()
    }

    fn owns(&self, name: &str) -> bool {
        let key = EndpointId::new(&self.namespace, &format!("{}/{name}", self.resource)).key();
        self.keeping.as_ref().is_none_or(|keeping| keeping.keeps(key, ""))
    }

    async fn write(
        &self,
        Due { name, verdict, judged }: Due,
        written: &mut BTreeMap<String, String>,
        (denied, round): (&mut bool, &mut Round),
    ) {
        let Self { resource, .. } = *self;
        let (version, kind) = &self.kind;
        let status = verdict.status_of(judged.condition.as_ref(), judged.generation, &wall_clock());
        let object = json!({
            "apiVersion": version,
            "kind": kind,
            "metadata": { "name": name, "resourceVersion": judged.version },
            "status": status,
        });
        let parameters = PatchParams::apply(MANAGER).force();
        let outcome = match self.api.patch_status(&name, &parameters, &Patch::Apply(&object)).await {
            Ok(_) => {
                *denied = false;
                "written"
            }
            // The object is another one by now, or gone; the watch shows it.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => "conflict",
            Err(error) => {
                round.failed = true;
                self.failed(&error, denied)
            }
        };
        if !round.failed {
            round.written = true;
            written.insert(name, judged.version);
        }
        self.context.telemetry.record(&Event::StatusWrite { resource, outcome });
    }

    /// A label for what failed. A right that is missing is told once; an API server that is away is told by the watches.
    fn failed(&self, error: &kube::Error, denied: &mut bool) -> &'static str {
        let failure = Failure::of_write(error, self.resource);
        if failure.kind != Kind::Denied {
            return "failed";
        }
        if !std::mem::replace(denied, true) {
            self.context.telemetry.record(&Event::StatusDenied { resource: self.resource, why: failure.why });
        }
        "denied"
    }
}

/// Resolves when the owners change; never without peers.
async fn changed(keepers: Option<&mut watch::Receiver<Keepers>>) {
    if let Some(keepers) = keepers
        && keepers.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}
