//! Places: what a fault applies to, and the ends of a link.
//!
//! Must not know network addresses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ClusterSpec;

/// One node of the cluster, or several of one kind.
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
    /// The engines that compute prompts for others.
    Prefillers,
    /// The engines that generate answers.
    Decoders,
    /// The gateway and its clients.
    Gateway,
    /// Discovery.
    Discovery,
}

// === impl Place ===

impl Place {
    /// The replicas of `cluster` that this selects.
    pub fn replicas(self, cluster: &ClusterSpec) -> Vec<usize> {
        (0..cluster.replicas).filter(|replica| self.is_replica(*replica, cluster)).collect()
    }

    /// The engines of `cluster` that this selects.
    pub fn engines(self, cluster: &ClusterSpec) -> Vec<usize> {
        let selected = |engine: usize| match self {
            Self::Engine(one) => one == engine,
            Self::Zone(zone) => cluster.zone_of_engine(engine) == zone,
            Self::Engines => true,
            Self::Prefillers => cluster.prefills(engine),
            Self::Decoders => !cluster.prefills(engine),
            Self::Replica(_) | Self::Replicas | Self::Gateway | Self::Discovery => false,
        };
        (0..cluster.engines).filter(|engine| selected(*engine)).collect()
    }

    fn is_replica(self, replica: usize, cluster: &ClusterSpec) -> bool {
        match self {
            Self::Replica(one) => one == replica,
            Self::Zone(zone) => cluster.zone_of_replica(replica) == zone,
            Self::Replicas => true,
            Self::Engine(_) | Self::Engines | Self::Prefillers | Self::Decoders => false,
            Self::Gateway | Self::Discovery => false,
        }
    }

    pub(super) fn check(self, cluster: &ClusterSpec) -> Result<(), String> {
        let (kind, index, count) = match self {
            Self::Replica(index) => ("replica", index, cluster.replicas),
            Self::Engine(index) => ("engine", index, cluster.engines),
            Self::Zone(index) => ("zone", index, cluster.zones),
            Self::Prefillers if cluster.prefillers == 0 => {
                return Err("no engine prefills for others; set cluster.prefillers".to_owned());
            }
            Self::Replicas | Self::Engines | Self::Prefillers | Self::Decoders => return Ok(()),
            Self::Gateway | Self::Discovery => return Ok(()),
        };
        match index < count {
            true => Ok(()),
            false => Err(format!("there is no {kind}-{index}; the cluster has {count}, counted from 0")),
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
            Self::Prefillers => f.write_str("prefillers"),
            Self::Decoders => f.write_str("decoders"),
            Self::Gateway => f.write_str("gateway"),
            Self::Discovery => f.write_str("discovery"),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || {
            let all = "replica-0, engine-0, zone-0, replicas, engines, prefillers, decoders, gateway or discovery";
            format!("{text:?} is not a place; use {all}")
        };
        match text {
            "replicas" => return Ok(Self::Replicas),
            "engines" => return Ok(Self::Engines),
            "prefillers" => return Ok(Self::Prefillers),
            "decoders" => return Ok(Self::Decoders),
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
