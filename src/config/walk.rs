//! Reads a tree field by field: callers take fields by name and kind, and fields that are not taken are unknown.
//!
//! Must not know which fields exist. Errors are collected, so one bad field does not hide the next.

use super::error::{ErrorCollector, Place};
use super::suggestion;
use super::tree::{Node, Value};

/// A value with its path.
#[derive(Clone, Debug)]
pub(super) struct Field<'n> {
    pub(super) path: String,
    pub(super) node: &'n Node,
}

/// A mapping whose fields are taken one by one.
#[derive(Debug)]
pub(super) struct Fields<'n> {
    /// The mapping's own path; empty for the document.
    pub(super) path: String,
    pub(super) place: Place,
    entries: Vec<Option<Entry<'n>>>,
    asked: Vec<&'static str>,
}

#[derive(Debug)]
struct Entry<'n> {
    key: &'n str,
    place: Place,
    node: &'n Node,
}

// === impl Field ===

impl<'n> Field<'n> {
    pub(super) fn document(node: &'n Node) -> Self {
        Self { path: String::new(), node }
    }

    pub(super) fn place(&self) -> Place {
        self.node.place
    }

    /// Reports an error at this field.
    pub(super) fn report(&self, errors: &mut ErrorCollector, sentence: impl Into<String>) {
        errors.add(self.place(), &self.path, sentence);
    }

    pub(super) fn text(&self, errors: &mut ErrorCollector) -> Option<&'n str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            Value::Number(_) | Value::Bool(_) => self.expected(errors, "text (put it in quotes)"),
            _ => self.expected(errors, "text"),
        }
    }

    pub(super) fn boolean(&self, errors: &mut ErrorCollector) -> Option<bool> {
        match &self.node.value {
            Value::Bool(value) => Some(*value),
            _ => self.expected(errors, "`true` or `false`"),
        }
    }

    pub(super) fn number(&self, errors: &mut ErrorCollector) -> Option<f64> {
        match &self.node.value {
            Value::Number(value) => value.as_f64(),
            _ => self.expected(errors, "a finite number"),
        }
    }

    pub(super) fn whole<T: TryFrom<i64>>(&self, errors: &mut ErrorCollector, range: &str) -> Option<T> {
        let value = match &self.node.value {
            Value::Number(value) => value.as_i64().and_then(|value| T::try_from(value).ok()),
            _ => None,
        };
        value.or_else(|| self.expected(errors, range))
    }

    /// The items of a list; null is an empty list.
    pub(super) fn list(&self, errors: &mut ErrorCollector) -> Vec<Self> {
        let item = |(index, node): (usize, &'n Node)| Self { path: format!("{}[{index}]", self.path), node };
        match &self.node.value {
            Value::List(items) => items.iter().enumerate().map(item).collect(),
            Value::Null => Vec::new(),
            _ => self.expected(errors, "a list").unwrap_or_default(),
        }
    }

    /// The fields of a mapping; null is an empty mapping.
    pub(super) fn fields(&self, errors: &mut ErrorCollector) -> Option<Fields<'n>> {
        let entries = match &self.node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Null => &[],
            _ => return self.expected(errors, "a mapping"),
        };
        let entry = |(key, node): &'n (super::tree::Key, Node)| Some(Entry { key: &key.text, place: key.place, node });
        let entries = entries.iter().map(entry).collect();
        Some(Fields { path: self.path.clone(), place: self.place(), entries, asked: Vec::new() })
    }

    fn expected<T>(&self, errors: &mut ErrorCollector, what: &str) -> Option<T> {
        self.report(errors, format!("expected {what}, got {}", self.node.kind()));
        None
    }
}

// === impl Fields ===

impl<'n> Fields<'n> {
    /// Takes the field called `key`. A null field counts as absent, as in llm-d.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Field<'n>> {
        self.asked.push(key);
        let entry =
            self.entries.iter_mut().find(|entry| entry.as_ref().is_some_and(|entry| entry.key == key))?.take()?;
        let present = !matches!(entry.node.value, Value::Null);
        present.then(|| Field { path: self.below(key), node: entry.node })
    }

    /// Whether a field called `key` is left, even if it is null.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().flatten().any(|entry| entry.key == key)
    }

    /// Like [`Self::take`], but reports an absent field.
    pub(super) fn require(&mut self, key: &'static str, errors: &mut ErrorCollector) -> Option<Field<'n>> {
        let field = self.take(key);
        if field.is_none() {
            errors.add(self.place, self.path.as_str(), format!("`{key}` is missing"));
        }
        field
    }

    /// Takes all fields that are left.
    pub(super) fn rest(mut self) -> Vec<(&'n str, Field<'n>)> {
        let entries: Vec<Entry<'n>> = self.entries.iter_mut().filter_map(Option::take).collect();
        entries.into_iter().map(|entry| (entry.key, Field { path: self.below(entry.key), node: entry.node })).collect()
    }

    /// Reports every field that was not taken as unknown.
    pub(super) fn finish(self, errors: &mut ErrorCollector) {
        for entry in self.entries.iter().flatten() {
            let similar = suggestion::did_you_mean(entry.key, self.asked.iter().copied());
            let sentence = match similar {
                Some(similar) => format!("no field is called `{}`; {similar}", entry.key),
                None => format!("no field is called `{}`; known are {}", entry.key, suggestion::listed(&self.asked)),
            };
            errors.add(entry.place, self.below(entry.key), sentence);
        }
    }

    fn below(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}
