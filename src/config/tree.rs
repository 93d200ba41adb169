//! YAML as a tree of values, each with its line and column.
//!
//! With the tree, all errors of a file can be reported at once; a typed deserializer stops at the first. Must not know
//! any schema.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::{NonFiniteFloatPolicy, Spanned};

use super::error::{ErrorCollector, Place};
use crate::plugin::parameters::Step;

/// A value and its position.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// JSON's values, and the non-finite numbers that JSON lacks.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    /// `.nan` or `.inf`.
    NotFinite,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key and its position.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) text: String,
}

/// Up to this value, floats represent every whole number exactly.
const EXACT_MAX: f64 = (1u64 << 53) as f64;

/// Reads one document; `None` after an error.
pub(super) fn parse(text: &str, errors: &mut ErrorCollector) -> Option<Node> {
    // `.nan` passes here, so that the reader of the field reports it at its path, together with all other errors.
    // `y`, `no` and `on` are text, as in YAML 1.2; a boolean field reports them.
    let options = serde_saphyr::options! {
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        strict_booleans: true,
    };
    match serde_saphyr::from_str_with_options::<Node>(text, options) {
        Ok(node) => Some(node),
        Err(error) => {
            let place = error.location().map_or(Place { line: 1, column: 1 }, place);
            errors.add(place, "", sentence(error.without_snippet()));
            None
        }
    }
}

/// A message of our own for common errors; otherwise the parser's, without the position, which the error already has.
fn sentence(error: &serde_saphyr::Error) -> String {
    match error {
        serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } => {
            return format!("the key `{key}` is there already; keep one of the two");
        }
        serde_saphyr::Error::MultipleDocuments { .. } => {
            return "a second document begins here (`---`), and one is read; keep one".to_owned();
        }
        _ => {}
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let message = first.split(" at line ").next().unwrap_or_default();
    let message = message.trim_start_matches("error: ").trim_end_matches('.');
    let hint = if message.contains("tab") { "; YAML is indented by spaces" } else { "" };
    format!("not YAML that can be read: {message}{hint}")
}

fn place(location: serde_saphyr::Location) -> Place {
    Place { line: location.line().max(1), column: location.column().max(1) }
}

// === impl Node ===

impl Node {
    /// The value as JSON. Non-finite numbers become null; the caller must have reported them before.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null | Value::NotFinite => serde_json::Value::Null,
            Value::Bool(value) => serde_json::Value::Bool(*value),
            Value::Number(value) => serde_json::Value::Number(value.clone()),
            Value::Text(value) => serde_json::Value::String(value.clone()),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => entries.iter().map(|(key, node)| (key.text.clone(), node.to_json())).collect(),
        }
    }

    /// The position at the end of `steps`: of the last step's key if `key` is set, else of its value. If the steps
    /// leave the tree, the position of the last node on their way.
    pub(super) fn place_of(&self, steps: &[Step], key: bool) -> Place {
        let Some((step, rest)) = steps.split_first() else { return self.place };
        let next = match (&self.value, step) {
            (Value::Map(entries), Step::Key(name)) => entries.iter().find(|(key, _)| key.text == *name),
            (Value::List(items), Step::Index(index)) => {
                return items.get(*index).map_or(self.place, |item| item.place_of(rest, key));
            }
            _ => None,
        };
        match next {
            Some((found, _)) if key && rest.is_empty() => found.place,
            Some((_, node)) => node.place_of(rest, key),
            None => self.place,
        }
    }

    /// The node at the end of `steps`; if they leave the tree, the last node on their way.
    pub(super) fn at(&self, steps: &[Step]) -> &Self {
        let Some((step, rest)) = steps.split_first() else { return self };
        let next = match (&self.value, step) {
            (Value::Map(entries), Step::Key(name)) => entries.iter().find(|(key, _)| key.text == *name).map(|(_, n)| n),
            (Value::List(items), Step::Index(index)) => items.get(*index),
            _ => None,
        };
        next.map_or(self, |node| node.at(rest))
    }

    /// Adds the positions and paths of all non-finite numbers to `found`; `path` is this node's path.
    pub(super) fn not_finite(&self, path: &str, found: &mut Vec<(Place, String)>) {
        match &self.value {
            Value::NotFinite => found.push((self.place, path.to_owned())),
            Value::List(items) => {
                items.iter().enumerate().for_each(|(i, item)| item.not_finite(&format!("{path}[{i}]"), found));
            }
            Value::Map(entries) => {
                entries.iter().for_each(|(key, node)| node.not_finite(&format!("{path}.{}", key.text), found));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
        }
    }

    /// Describes the value in error messages.
    pub(super) fn kind(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => format!("`{value}`"),
            Value::Number(value) => format!("the number {value}"),
            Value::NotFinite => "a number without a value".to_owned(),
            Value::Text(value) => format!("the text {:?}", shortened(value)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }
}

/// At most 64 characters, which keeps messages short.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { place: place(spanned.referenced), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        // `5.0` is the whole number 5, as in llm-d's conversion from YAML to JSON.
        if value.fract() == 0.0 && value.abs() <= EXACT_MAX {
            return Ok(Value::Number((value as i64).into()));
        }
        Ok(Number::from_f64(value).map_or(Value::NotFinite, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key::<Node>()? {
            let text = match &key.value {
                Value::Text(text) => text.clone(),
                Value::Bool(value) => value.to_string(),
                Value::Number(value) => value.to_string(),
                _ => return Err(A::Error::custom("a key must be text")),
            };
            entries.push((Key { place: key.place, text }, access.next_value()?));
        }
        Ok(Value::Map(entries))
    }
}
