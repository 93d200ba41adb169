//! Reads typed parameters from a configuration's values; a fault carries the path of the wrong value.
//!
//! Must not know files: a path is a list of steps into the value. The caller has the text and finds the line.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

/// What is wrong with the parameters of one plugin.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    /// The path from the parameters' root; empty for the parameters as a whole.
    pub(crate) steps: Vec<Step>,
    /// The message.
    pub(crate) sentence: String,
    /// For an unknown field: its name, and the known fields.
    pub(crate) unknown: Option<(String, Vec<String>)>,
}

/// One step into a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into a mapping.
    Key(String),
    /// Into a list.
    Index(usize),
}

/// Reads parameters; null gives the defaults.
pub(crate) fn read<P: DeserializeOwned + Default>(value: &Value) -> Result<P, Fault> {
    if value.is_null() {
        return Ok(P::default());
    }
    serde_path_to_error::deserialize(value.clone()).map_err(|error| {
        let steps = error.path().iter().filter_map(step).collect();
        let sentence = error.inner().to_string();
        let unknown = unknown_field(&sentence);
        Fault { steps, sentence, unknown }
    })
}

/// Parameters as a value, with all defaults.
pub(crate) fn write<P: Serialize>(parameters: &P) -> Value {
    // Parameters are plain structs; if serde can't write them, the effective configuration omits them.
    serde_json::to_value(parameters).unwrap_or(Value::Null)
}

fn step(segment: &Segment) -> Option<Step> {
    match segment {
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

/// Parses serde's "unknown field `x`, expected `a` or `b`".
fn unknown_field(sentence: &str) -> Option<(String, Vec<String>)> {
    let rest = sentence.strip_prefix("unknown field `")?;
    let (field, expected) = rest.split_once('`')?;
    let known = expected.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some((field.to_owned(), known))
}

// === impl Fault ===

impl Fault {
    /// A fault of the parameters as a whole.
    pub(crate) fn whole(sentence: String) -> Self {
        Self { steps: Vec::new(), sentence, unknown: None }
    }

    /// Turns a fault of the whole into a fault of one field, if its sentence begins with a field of `given`
    /// (`port must be ...`, `port: ...`).
    pub(crate) fn at_its_field(mut self, given: &Value) -> Self {
        let end = self.sentence.find([' ', ':']).unwrap_or(self.sentence.len());
        let (field, rest) = self.sentence.split_at(end);
        if self.steps.is_empty() && given.get(field).is_some() {
            self.steps.push(Step::Key(field.to_owned()));
            self.sentence = rest.trim_start_matches([' ', ':']).to_owned();
        }
        self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plugin::filter::label_selector::LabelSelector;
    use crate::plugin::picker::PickerParameters;

    #[test]
    fn a_fault_has_the_path_into_the_value() {
        let value = serde_json::json!({"matchExpressions": [{"key": "a", "operator": "Exists"}, {"key": 1}]});
        let fault = read::<LabelSelector>(&value).unwrap_err();
        let steps = [Step::Key("matchExpressions".into()), Step::Index(1), Step::Key("key".into())];
        assert_eq!(fault.steps, steps);
    }

    #[test]
    fn an_unknown_field_is_reported_with_the_known_ones() {
        let fault = read::<PickerParameters>(&serde_json::json!({"maxNumOfEndpoint": 1})).unwrap_err();
        assert_eq!(fault.steps, [Step::Key("maxNumOfEndpoint".into())]);
        assert_eq!(
            fault.unknown.unwrap(),
            ("maxNumOfEndpoint".into(), vec!["maxNumOfEndpoints".into(), "fallbacksInOtherZones".into()])
        );
        let fault = read::<crate::plugin::registration::NoParameters>(&serde_json::json!({"x": 1})).unwrap_err();
        assert_eq!(fault.unknown.unwrap(), ("x".into(), vec![]));
    }

    #[test]
    fn a_sentence_that_begins_with_a_given_field_is_about_that_field() {
        let given = serde_json::json!({"port": 0});
        let fault = |sentence: &str| Fault::whole(sentence.to_owned()).at_its_field(&given);
        let at_port =
            |sentence: &str| Fault { steps: vec![Step::Key("port".into())], ..Fault::whole(sentence.to_owned()) };
        assert_eq!(fault("port must not be 0"), at_port("must not be 0"));
        assert_eq!(fault("port: \"x\" is no port"), at_port("\"x\" is no port"));
        assert_eq!(fault("path must begin with `/`"), Fault::whole("path must begin with `/`".to_owned()));
    }

    #[test]
    fn null_gives_the_defaults() {
        assert_eq!(read::<PickerParameters>(&Value::Null).unwrap().max_num_of_endpoints, 1);
        assert_eq!(
            write(&PickerParameters::default()),
            serde_json::json!({"maxNumOfEndpoints": 1, "fallbacksInOtherZones": false})
        );
    }
}
