//! Turns the steps of a watch into changes of objects, and reports each object that can't be used once.
//!
//! Must not know what the objects mean. It remembers refused objects by name while they exist.

use std::collections::BTreeMap;

use kube::Resource;
use murmuration::event::Event;

use super::objects::Change;
use super::watch::Step;
use crate::telemetry::Telemetry;

/// Reads the objects of one kind.
pub(super) struct Reader {
    telemetry: Telemetry,
    /// Their kind and namespace, for people.
    kind: String,
    /// Why objects were refused, by name.
    refused: BTreeMap<String, String>,
}

// === impl Reader ===

impl Reader {
    pub(super) fn new(kind: &str, namespace: &str, telemetry: Telemetry) -> Self {
        Self { telemetry, kind: format!("{kind} {namespace}"), refused: BTreeMap::new() }
    }

    /// The step as a change of what `read` makes of each object: nothing, where it does not count. One that is being
    /// deleted is read too; one that is refused does not count.
    pub(super) fn change<K: Resource, T>(
        &mut self,
        step: Step<K>,
        read: impl Fn(K) -> Result<Option<T>, String>,
    ) -> Change<T> {
        match step {
            Step::Init => {
                self.refused.clear();
                Change::ListBegins
            }
            Step::InitDone => Change::ListEnds,
            Step::InitApply(object) => match self.read(object, read) {
                (name, Some(object)) => Change::Listed(name, object),
                // What was known of it stays until the list is complete.
                (_, None) => Change::Nothing,
            },
            Step::Apply(object) => match self.read(object, read) {
                (name, Some(object)) => Change::Set(name, object),
                (name, None) => Change::Gone(name),
            },
            Step::Delete(object) => {
                let name = name(&object);
                self.refused.remove(&name);
                Change::Gone(name)
            }
        }
    }

    fn read<K: Resource, T>(
        &mut self,
        object: K,
        read: impl Fn(K) -> Result<Option<T>, String>,
    ) -> (String, Option<T>) {
        let name = name(&object);
        match read(object) {
            Ok(object) => {
                self.refused.remove(&name);
                (name, object)
            }
            Err(why) => {
                if self.refused.get(&name) != Some(&why) {
                    let object = format!("{}/{name}", self.kind);
                    self.telemetry.record(&Event::ObjectRefused { object, why: why.clone() });
                    self.refused.insert(name.clone(), why);
                }
                (name, None)
            }
        }
    }
}

fn name(object: &impl Resource) -> String {
    object.meta().name.clone().unwrap_or_default()
}
