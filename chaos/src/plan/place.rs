//! Ends of a way through the network.
//!
//! Must not know addresses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Town;

/// Somebody, or all of some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Place {
    /// One replica.
    Replica(usize),
    /// One engine.
    Engine(usize),
    /// All replicas and engines of a zone.
    Zone(usize),
    /// All replicas.
    Replicas,
    /// All engines.
    Engines,
    /// Who asks: the gateway and its clients.
    Gateway,
    /// Who says which endpoints there are.
    Discovery,
}

// === impl Place ===

impl Place {
    /// The replicas of `town` that are meant.
    pub fn replicas(self, town: &Town) -> Vec<usize> {
        (0..town.replicas).filter(|replica| self.is_replica(*replica, town)).collect()
    }

    /// The engines of `town` that are meant.
    pub fn engines(self, town: &Town) -> Vec<usize> {
        let meant = |engine: usize| match self {
            Self::Engine(one) => one == engine,
            Self::Zone(zone) => town.zone_of_engine(engine) == zone,
            Self::Engines => true,
            Self::Replica(_) | Self::Replicas | Self::Gateway | Self::Discovery => false,
        };
        (0..town.engines).filter(|engine| meant(*engine)).collect()
    }

    fn is_replica(self, replica: usize, town: &Town) -> bool {
        match self {
            Self::Replica(one) => one == replica,
            Self::Zone(zone) => town.zone_of_replica(replica) == zone,
            Self::Replicas => true,
            Self::Engine(_) | Self::Engines | Self::Gateway | Self::Discovery => false,
        }
    }

    pub(super) fn check(self, town: &Town) -> Result<(), String> {
        let (kind, index, count) = match self {
            Self::Replica(index) => ("replica", index, town.replicas),
            Self::Engine(index) => ("engine", index, town.engines),
            Self::Zone(index) => ("zone", index, town.zones),
            Self::Replicas | Self::Engines | Self::Gateway | Self::Discovery => return Ok(()),
        };
        match index < count {
            true => Ok(()),
            false => Err(format!("there is no {kind}-{index}; the town has {count}, counted from 0")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replica(index) => write!(f, "replica-{index}"),
            Self::Engine(index) => write!(f, "engine-{index}"),
            Self::Zone(index) => write!(f, "zone-{index}"),
            Self::Replicas => f.write_str("replicas"),
            Self::Engines => f.write_str("engines"),
            Self::Gateway => f.write_str("gateway"),
            Self::Discovery => f.write_str("discovery"),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || {
            format!("{text:?} is no place; write replica-0, engine-0, zone-0, replicas, engines, gateway or discovery")
        };
        match text {
            "replicas" => return Ok(Self::Replicas),
            "engines" => return Ok(Self::Engines),
            "gateway" => return Ok(Self::Gateway),
            "discovery" => return Ok(Self::Discovery),
            _ => {}
        }
        let (kind, index) = text.rsplit_once('-').ok_or_else(unknown)?;
        let index = index.parse().map_err(|_| unknown())?;
        match kind {
            "replica" => Ok(Self::Replica(index)),
            "engine" => Ok(Self::Engine(index)),
            "zone" => Ok(Self::Zone(index)),
            _ => Err(unknown()),
        }
    }
}

impl TryFrom<String> for Place {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}
