//! How a plan names a part of a replica.
//!
//! Must not know which parts a replica has: a plan is drawn before any replica starts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An actor or a task of a replica, by the beginning of its name or by its index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Part {
    /// The first part whose name begins with this: `scheduler`, `endpoint`, `gossip`.
    Named(String),
    /// The part at this index of the sorted list, modulo its length; written `#7`.
    Numbered(usize),
}

// === impl Part ===

impl Part {
    /// The name in `parts`, a sorted list, that this selects; `None` if no name matches.
    pub fn of<'a>(&self, parts: &'a [String]) -> Option<&'a str> {
        match self {
            Self::Named(name) => parts.iter().find(|part| part.starts_with(name.as_str())).map(String::as_str),
            Self::Numbered(number) => parts.get(number % parts.len().max(1)).map(String::as_str),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Numbered(number) => write!(f, "#{number}"),
        }
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} names no part; write the beginning of its name, such as scheduler, or #7");
        match text.strip_prefix('#') {
            Some(number) => number.parse().map(Self::Numbered).map_err(|_| wrong()),
            None if text.is_empty() => Err(wrong()),
            None => Ok(Self::Named(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Part {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Part> for String {
    fn from(part: Part) -> Self {
        part.to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_by_the_beginning_of_its_name_or_by_its_index() {
        let parts = ["endpoint a", "endpoint b", "scheduler"].map(str::to_owned);
        let of = |text: &str| text.parse::<Part>().unwrap().of(&parts).map(str::to_owned);
        assert_eq!(of("scheduler").unwrap(), "scheduler");
        assert_eq!(of("endpoint").unwrap(), "endpoint a");
        assert_eq!(of("#4").unwrap(), "endpoint b");
        assert_eq!(of("gossip"), None);
        assert_eq!("#4".parse::<Part>().unwrap().of(&[]), None);
        assert!("#x".parse::<Part>().is_err() && "".parse::<Part>().is_err());
    }
}
