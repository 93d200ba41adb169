//! Watches the pods that the pool selects. When the selector changes, the pods of the former one stay until those of
//! the new one are listed.
//!
//! Must not know which of them serve, nor on which ports.

use std::sync::Arc;

use kube::Api;
use kube::core::Object;
use kube::runtime::watcher::Config;
use murmuration::dialect::kubernetes::pod::{Pod, PodMetadata, PodStatus};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::client::of_kind;
use super::context::Context;
use super::objects::Change;
use super::reader::Reader;
use super::view::View;
use super::watch::{Seen, Watch, Watched};

/// A pod as the API server sends it, reduced to what is read.
pub(super) type ApiPod = Object<Unread, PodStatus>;

/// A part of an object that is not read.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Unread {}

/// What the part needs.
#[derive(Clone)]
pub(super) struct PodsWatch {
    pub(super) context: Context,
    pub(super) namespace: String,
    pub(super) view: Arc<watch::Sender<View>>,
}

// === impl PodsWatch ===

impl PodsWatch {
    /// Watches for ever.
    pub(super) async fn run(self) {
        let mut view = self.view.subscribe();
        loop {
            let selector = selector(&mut view).await;
            let watched = watched(&self.context, &self.namespace, &selector, "pods");
            let mut watch = Watch::new(watched, &self.context.me, self.context.telemetry.clone());
            let mut reader = Reader::new("Pod", &self.namespace, self.context.telemetry.clone());
            loop {
                tokio::select! {
                    seen = watch.next() => if let Seen::Step(step) = seen
                        && !self.take(reader.change(step, read), &selector)
                    {
                        break;
                    },
                    () = differs(&mut view, &selector) => break,
                }
            }
            // Where the pool is gone no watch keeps them true.
            self.view.send_if_modified(|view| {
                if view.selector().is_none() {
                    view.forget_pods();
                }
                false
            });
        }
    }

    /// Applies a change of the pods of `selector`; returns whether it is still the pool's.
    fn take(&self, change: Change<Pod>, selector: &str) -> bool {
        let mut current = true;
        self.view.send_if_modified(|view| {
            current = view.selector() == Some(selector);
            current && view.pods(change)
        });
        current
    }
}

/// The watch of the pods that `selector` selects.
pub(super) fn watched(context: &Context, namespace: &str, selector: &str, resource: &'static str) -> Watched<ApiPod> {
    let api: Api<ApiPod> = Api::namespaced_with(context.client.clone(), namespace, &of_kind(("", "v1", "Pod", "pods")));
    Watched { api, config: Config::default().labels(selector), resource, optional: false }
}

/// The pool's selector, once it is known.
async fn selector(view: &mut watch::Receiver<View>) -> String {
    // The part holds a sender, so there is always one.
    let known = view.wait_for(|view| view.selector().is_some()).await;
    known.ok().and_then(|view| view.selector().map(str::to_owned)).unwrap_or_default()
}

/// Resolves when the pool's selector is not `selector` any more.
async fn differs(view: &mut watch::Receiver<View>, selector: &str) {
    drop(view.wait_for(|view| view.selector() != Some(selector)).await);
}

/// The pod that `object` is.
pub(super) fn read(object: ApiPod) -> Result<Option<Pod>, String> {
    let Object { metadata, status, .. } = object;
    let metadata = PodMetadata {
        namespace: metadata.namespace.unwrap_or_default(),
        name: metadata.name.unwrap_or_default(),
        labels: metadata.labels.unwrap_or_default(),
        annotations: metadata.annotations.unwrap_or_default(),
        deleting: metadata.deletion_timestamp.is_some(),
    };
    Pod::new(metadata, &status.unwrap_or_default()).map(Some)
}
