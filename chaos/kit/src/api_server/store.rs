//! The objects of a fake API server, and the history that watches read.
//!
//! Must not know HTTP.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// What is asked for: the objects of one path, perhaps only some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) path: String,
    /// Labels that must be equal.
    pub(super) labels: Vec<(String, String)>,
    /// The only name.
    pub(super) name: Option<String>,
}

/// One change of an object.
#[derive(Clone, Debug)]
struct Entry {
    version: u64,
    path: String,
    before: Option<Value>,
    after: Option<Value>,
}

/// The objects.
#[derive(Debug, Default)]
pub(super) struct Store {
    version: u64,
    objects: BTreeMap<(String, String), Value>,
    history: Vec<Entry>,
    /// Versions up to here are no longer in the history.
    forgotten: u64,
    /// Paths of kinds that are not installed.
    pub(super) absent: BTreeSet<String>,
    /// Paths that may not be read.
    pub(super) denied: BTreeSet<String>,
    /// How many conditions were written, by path.
    pub(super) written: BTreeMap<String, usize>,
    /// Tokens, and whether their bearers may read `/metrics`.
    pub(super) bearers: BTreeMap<String, bool>,
}

// === impl Store ===

impl Store {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Stores `object`, or removes the one called `name`.
    pub(super) fn put(&mut self, path: &str, name: &str, object: Option<Value>) {
        self.version += 1;
        let key = (path.to_owned(), name.to_owned());
        let former = self.objects.get(&key);
        let after = object.map(|mut object| {
            let generation = former.and_then(|former| former["metadata"]["generation"].as_i64()).unwrap_or(0);
            let same = former.is_some_and(|former| former["spec"] == object["spec"]);
            object["metadata"]["generation"] = json!(if same { generation } else { generation + 1 });
            if let Some(kept) = former.and_then(|former| former.get("status"))
                && object.get("status").is_none()
            {
                object["status"] = kept.clone();
            }
            object["metadata"]["name"] = json!(name);
            object["metadata"]["namespace"] = json!(path.rsplit('/').nth(1).unwrap_or_default());
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
            object
        });
        let before = match &after {
            Some(object) => self.objects.insert(key, object.clone()),
            None => self.objects.remove(&key),
        };
        self.history.push(Entry { version: self.version, path: path.to_owned(), before, after });
    }

    /// The object of `path` called `name`.
    pub(super) fn object(&self, path: &str, name: &str) -> Option<Value> {
        self.objects.get(&(path.to_owned(), name.to_owned())).cloned()
    }

    /// Applies the status of `body`: its conditions replace those of their types. `path` ends with the object's name and
    /// `/status`.
    pub(super) fn apply_status(&mut self, path: &str, body: &Value) -> Result<Value, (u16, &'static str)> {
        let parts = path.strip_suffix("/status").and_then(|path| path.rsplit_once('/'));
        let (kind, name) = parts.ok_or((405, "only a status can be written"))?;
        if self.denied.contains(&format!("{kind}/status")) {
            return Err((403, "it is forbidden to patch this resource"));
        }
        let mut object = self.object(kind, name).ok_or((404, "not found"))?;
        if body["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
            return Err((409, "the object has been modified"));
        }
        let applied = body["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let mut conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.retain(|one| applied.iter().all(|other| other["type"] != one["type"]));
        conditions.extend(applied);
        object["status"] = json!({ "conditions": conditions });
        self.put(kind, name, Some(object));
        *self.written.entry(kind.to_owned()).or_default() += 1;
        self.object(kind, name).ok_or((404, "not found"))
    }

    /// Forgets the history: watches that continue from an earlier version have expired.
    pub(super) fn forget(&mut self) {
        self.version += 1;
        (self.forgotten, self.history) = (self.version, Vec::new());
    }

    /// Why the path can't be read: a status and a message.
    pub(super) fn refusal(&self, path: &str) -> Option<(u16, &'static str)> {
        match (self.denied.contains(path), self.absent.contains(path)) {
            (true, _) => Some((403, "it is forbidden to list this resource")),
            (_, true) => Some((404, "the server could not find the requested resource")),
            _ => None,
        }
    }

    /// The objects, by name.
    pub(super) fn list(&self, query: &Query) -> Vec<Value> {
        let of_path = self.objects.iter().filter(|((path, _), _)| *path == query.path);
        of_path.filter(|(_, object)| query.selects(object)).map(|(_, object)| object.clone()).collect()
    }

    /// The events after `version`, as lines; `None` where they are no longer known.
    pub(super) fn since(&self, query: &Query, version: u64) -> Option<Vec<String>> {
        if version < self.forgotten {
            return None;
        }
        let entries = self.history.iter().filter(|entry| entry.version > version && entry.path == query.path);
        Some(entries.filter_map(|entry| entry.event(query)).map(|event| event.to_string()).collect())
    }
}

// === impl Entry ===

impl Entry {
    /// The event as a watch with this query shows it: an object whose labels no longer match is gone.
    fn event(&self, query: &Query) -> Option<Value> {
        let selected = |object: &Option<Value>| object.as_ref().is_some_and(|object| query.selects(object));
        let kind = match (selected(&self.before), selected(&self.after)) {
            (false, false) => return None,
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
        };
        let mut object = self.after.clone().or_else(|| self.before.clone())?;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        Some(json!({ "type": kind, "object": object }))
    }
}

// === impl Query ===

impl Query {
    /// Reads the path and the query of a request.
    pub(super) fn read(path: &str, parameters: &BTreeMap<String, String>) -> Self {
        let terms = parameters.get("labelSelector").into_iter().flat_map(|selector| selector.split(','));
        let labels = terms.filter_map(|term| term.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        let name = parameters.get("fieldSelector").and_then(|field| field.strip_prefix("metadata.name="));
        Self { path: path.to_owned(), labels, name: name.map(str::to_owned) }
    }

    fn selects(&self, object: &Value) -> bool {
        let metadata = &object["metadata"];
        let has = |(key, value): &(String, String)| metadata["labels"][key] == json!(value);
        self.labels.iter().all(has) && self.name.as_ref().is_none_or(|name| metadata["name"] == json!(name))
    }
}
