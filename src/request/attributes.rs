//! What producers learned of a request, by name.
//!
//! Must not know what a name means.

use std::collections::BTreeMap;

use serde::Serialize;

/// Names of one request at most.
pub const ATTRIBUTES_MAX: usize = 16;
/// Bytes of a name or of a value at most.
pub const ATTRIBUTE_BYTES_MAX: usize = 256;

/// Names with their values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Attributes(BTreeMap<String, String>);

// === impl Attributes ===

impl Attributes {
    /// Sets `name`; `false`, and nothing changes, if there is no room or one of the two is too long.
    pub fn insert(&mut self, name: String, value: String) -> bool {
        let room = self.0.len() < ATTRIBUTES_MAX || self.0.contains_key(&name);
        let short = name.len().max(value.len()) <= ATTRIBUTE_BYTES_MAX;
        if room && short {
            self.0.insert(name, value);
        }
        room && short
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_at_most_so_many_and_each_is_short() {
        let mut attributes = Attributes::default();
        assert!(!attributes.insert("a".into(), "x".repeat(ATTRIBUTE_BYTES_MAX + 1)) && attributes.is_empty());
        assert!((0..ATTRIBUTES_MAX).all(|n| attributes.insert(n.to_string(), "x".into())));
        assert!(!attributes.insert("more".into(), "x".into()));
        assert!(attributes.insert("3".into(), "y".into()), "a known name has room");
        assert_eq!((attributes.get("3"), attributes.get("more")), (Some("y"), None));
    }
}
