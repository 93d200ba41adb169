//! The faults that a plan can contain.
//!
//! Must not know how faults are injected, in a simulation or into processes. Each fault has a duration (see
//! [`super::ScheduledFault`]), and a probability applies for all of it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ClusterSpec, PageFault, PairMoment, Part, Place, TransferFault, span};

/// A fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Fault {
    // ---------- replicas ----------
    /// Kills a replica, as by SIGKILL. It restarts afterwards, with a new incarnation or, misconfigured, the old one.
    Kill {
        /// The replica.
        who: Place,
        /// Whether it restarts with its previous incarnation.
        #[serde(default)]
        same_incarnation: bool,
    },
    /// Freezes a replica, as by SIGSTOP. It continues afterwards.
    Freeze {
        /// The replica.
        who: Place,
    },
    /// Drains a replica, as by SIGTERM. It restarts afterwards.
    Drain {
        /// The replica.
        who: Place,
    },
    /// Drains a replica, and restarts it with the given wire version, above or below its own.
    Upgrade {
        /// The replica.
        who: Place,
        /// Its highest wire version after the restart.
        wire_version: u16,
    },
    /// Lets a replica reload its configuration.
    Reload {
        /// The replica.
        who: Place,
    },
    /// Kills a part of a replica, an actor or a task. The replica keeps running and must restart the part.
    KillPart {
        /// The replica.
        who: Place,
        /// The part.
        part: Part,
    },
    /// Kills a replica as `kill` does. It restarts with a wall clock that was set to another time meanwhile.
    ClockStep {
        /// The replica.
        who: Place,
        /// Milliseconds by which the wall clock is set forward; negative for back.
        step_ms: i64,
    },
    /// Lets the clock of a replica run too fast or too slow.
    Clock {
        /// The replica.
        who: Place,
        /// How much too fast it runs, in parts per million; negative for too slow.
        drift_ppm: i32,
    },

    // ---------- the network ----------
    /// Cuts a link: nothing passes.
    Cut {
        /// One end; with `one_way`, the sender.
        from: Place,
        /// The other end; with `one_way`, the receiver.
        to: Place,
        /// Whether the opposite direction stays open.
        #[serde(default)]
        one_way: bool,
    },
    /// Packets are lost, in both directions.
    Loss {
        /// One end.
        from: Place,
        /// The other end.
        to: Place,
        /// The share of them, 0 to 1.
        share: f64,
    },
    /// Packets are delayed, in both directions. Datagrams may therefore be reordered.
    Delay {
        /// One end.
        from: Place,
        /// The other end.
        to: Place,
        /// The shortest additional latency.
        #[serde(with = "span")]
        least: Duration,
        /// The longest additional latency.
        #[serde(with = "span")]
        most: Duration,
    },

    /// Some datagrams arrive a second time, later, in both directions. Nothing is lost.
    Replay {
        /// One end.
        from: Place,
        /// The other end.
        to: Place,
        /// The share of them, 0 to 1.
        share: f64,
        /// The shortest delay of the second copy.
        #[serde(with = "span")]
        least: Duration,
        /// The longest delay of the second copy.
        #[serde(with = "span")]
        most: Duration,
    },

    // ---------- engines ----------
    /// Kills an engine. It restarts afterwards with an empty cache.
    EngineKill {
        /// The engine.
        who: Place,
    },
    /// Slows an engine down.
    EngineSlow {
        /// The engine.
        who: Place,
        /// The factor by which its steps take longer.
        factor: f64,
    },
    /// Spoils the metrics page of an engine.
    EnginePage {
        /// The engine.
        who: Place,
        /// What is wrong with it.
        page: PageFault,
    },

    // ---------- pairs ----------
    /// Kills an engine or a replica once a pair that it takes part in is at this moment. It restarts afterwards. Without
    /// such a pair nothing happens.
    PairKill {
        /// The engine, or the replica that chose the pair. Of several the first that takes part.
        who: Place,
        /// The moment.
        when: PairMoment,
    },
    /// The KV of some prompts does not arrive, or late.
    Transfer {
        /// The share of them.
        share: f64,
        /// What goes wrong.
        does: TransferFault,
        /// How much later; of no meaning where it fails.
        #[serde(default, with = "span")]
        by: Duration,
    },

    // ---------- discovery ----------
    /// Discovery announces something else than the current endpoints.
    Discovery {
        /// What it announces.
        says: Discovery,
    },

    /// Engines are replaced one after the other, as in the rollout of a deployment. Each new engine has an empty cache,
    /// and a replaced name or address never comes back.
    EndpointChurn {
        /// The time between two replacements.
        #[serde(with = "span")]
        every: Duration,
        /// What a replacement changes.
        with: Replacement,
    },

    // ---------- traffic ----------
    /// More requests arrive.
    Burst {
        /// The factor on the request rate.
        factor: f64,
    },
    /// Some requests share one prefix.
    HotPrefix {
        /// The share of them.
        share: f64,
    },
    /// Some clients hang up in the middle of a response.
    Vanish {
        /// The share of them.
        share: f64,
    },
    /// Some prompts are large.
    LargePrompts {
        /// The share of them.
        share: f64,
        /// Their size in bytes, at least.
        bytes: usize,
    },
}

/// What discovery announces instead of the current endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Discovery {
    /// All endpoints but one, and then all of them; the omitted one changes in turn.
    Flap,
    /// The endpoints at the start, whatever has changed since.
    Old,
    /// No endpoints.
    Empty,
    /// No announcements at all.
    Silent,
}

/// What changes when an engine is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Replacement {
    /// The name: the old endpoint leaves for ever, and a new one joins at the same address.
    NewName,
    /// The address: the same endpoint is announced at another one.
    NewAddress,
}

// === impl Fault ===

/// Defines [`Fault::NAMES`] and [`Fault::name`].
macro_rules! names {
    ($($fault:ident: $name:literal,)*) => {
        impl Fault {
            /// The names of all faults, as plans write them.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// Its name, as plans write it.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$fault { .. } => $name,)*
                }
            }
        }
    };
}

names! {
    Kill: "kill",
    Freeze: "freeze",
    Drain: "drain",
    Upgrade: "upgrade",
    Reload: "reload",
    KillPart: "kill-part",
    ClockStep: "clock-step",
    Clock: "clock",
    Cut: "cut",
    Loss: "loss",
    Delay: "delay",
    Replay: "replay",
    EngineKill: "engine-kill",
    EngineSlow: "engine-slow",
    EnginePage: "engine-page",
    PairKill: "pair-kill",
    Transfer: "transfer",
    Discovery: "discovery",
    EndpointChurn: "endpoint-churn",
    Burst: "burst",
    HotPrefix: "hot-prefix",
    Vanish: "vanish",
    LargePrompts: "large-prompts",
}

impl Fault {
    /// The places that the fault affects; both ends of a link.
    pub fn places(&self) -> Vec<Place> {
        match self {
            Self::Kill { who, .. } | Self::Freeze { who } | Self::Drain { who } | Self::Upgrade { who, .. } => {
                vec![*who]
            }
            Self::Reload { who } | Self::Clock { who, .. } => vec![*who],
            Self::KillPart { who, .. } | Self::ClockStep { who, .. } => vec![*who],
            Self::EngineKill { who } | Self::EngineSlow { who, .. } | Self::EnginePage { who, .. } => vec![*who],
            Self::PairKill { who, .. } => vec![*who],
            Self::Transfer { .. } => vec![Place::Engines],
            Self::Cut { from, to, .. } | Self::Loss { from, to, .. } => vec![*from, *to],
            Self::Delay { from, to, .. } | Self::Replay { from, to, .. } => vec![*from, *to],
            Self::Discovery { .. } | Self::EndpointChurn { .. } => vec![Place::Discovery],
            Self::Burst { .. } | Self::HotPrefix { .. } | Self::Vanish { .. } | Self::LargePrompts { .. } => {
                vec![Place::Gateway]
            }
        }
    }

    /// The engines that it may kill.
    pub fn kills_engines(&self, cluster: &ClusterSpec) -> Vec<usize> {
        match self {
            Self::EngineKill { who } | Self::PairKill { who, .. } => who.engines(cluster),
            _ => Vec::new(),
        }
    }

    /// Whether it makes endpoints join or leave.
    pub fn changes_endpoints(&self) -> bool {
        matches!(self, Self::Discovery { .. } | Self::EndpointChurn { .. })
    }

    pub(super) fn check(&self, cluster: &ClusterSpec) -> Result<(), String> {
        self.places().into_iter().try_for_each(|place| place.check(cluster))?;
        let share = |share: f64| match (0.0..=1.0).contains(&share) {
            true => Ok(()),
            false => Err(format!("share must be 0 to 1, not {share}")),
        };
        let factor = |factor: f64| match (0.01..=1_000.0).contains(&factor) {
            true => Ok(()),
            false => Err(format!("factor must be 0.01 to 1000, not {factor}")),
        };
        match self {
            Self::Delay { least, most, .. } | Self::Replay { least, most, .. } if least > most => {
                Err("least is more than most".to_owned())
            }
            Self::Loss { share: some, .. } | Self::Replay { share: some, .. } => share(*some),
            Self::EndpointChurn { every, .. } if every.is_zero() => Err("every must be more than 0".to_owned()),
            Self::HotPrefix { share: some } | Self::Vanish { share: some } => share(*some),
            Self::Transfer { share: some, .. } => share(*some),
            Self::PairKill { who, when } => when.check(*who, cluster),
            Self::LargePrompts { share: some, bytes } if *bytes <= 8 << 20 => share(*some),
            Self::LargePrompts { bytes, .. } => Err(format!("bytes must be at most {}, not {bytes}", 8 << 20)),
            Self::EngineSlow { factor: times, .. } | Self::Burst { factor: times } => factor(*times),
            Self::Kill { who, .. } | Self::Freeze { who } | Self::Drain { who } | Self::Upgrade { who, .. } => {
                replicas_only(*who, cluster)
            }
            Self::Reload { who } | Self::Clock { who, .. } => replicas_only(*who, cluster),
            Self::KillPart { who, .. } | Self::ClockStep { who, .. } => replicas_only(*who, cluster),
            Self::EngineKill { who } if who.engines(cluster).is_empty() => Err(format!("{who} has no engine")),
            _ => Ok(()),
        }
    }
}

fn replicas_only(who: Place, cluster: &ClusterSpec) -> Result<(), String> {
    match who.replicas(cluster).is_empty() {
        true => Err(format!("{who} has no replica")),
        false => Ok(()),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Kill { who, same_incarnation: true } => write!(f, " {who}, same incarnation"),
            Self::Kill { who, .. } | Self::Freeze { who } | Self::Drain { who } | Self::Reload { who } => {
                write!(f, " {who}")
            }
            Self::Upgrade { who, wire_version } => write!(f, " {who} to wire version {wire_version}"),
            Self::KillPart { who, part } => write!(f, " {part} of {who}"),
            Self::ClockStep { who, step_ms } => write!(f, " {who} by {step_ms} ms"),
            Self::Clock { who, drift_ppm } => write!(f, " {who} by {drift_ppm} ppm"),
            Self::Cut { from, to, one_way: true } => write!(f, " {from} -> {to}"),
            Self::Cut { from, to, .. } => write!(f, " {from} <-> {to}"),
            Self::Loss { from, to, share } => write!(f, " {from} <-> {to} {share}"),
            Self::Delay { from, to, least, most } => {
                write!(f, " {from} <-> {to} {} to {}", span::told(*least), span::told(*most))
            }
            Self::Replay { from, to, share, least, most } => {
                write!(f, " {from} <-> {to} {share} after {} to {}", span::told(*least), span::told(*most))
            }
            Self::EngineKill { who } => write!(f, " {who}"),
            Self::EngineSlow { who, factor } => write!(f, " {who} x{factor}"),
            Self::EnginePage { who, page } => write!(f, " {who} {page:?}"),
            Self::PairKill { who, when } => write!(f, " {who} {when}"),
            Self::Transfer { share, does, by } => write!(f, " {share} {does:?} {}", span::told(*by)),
            Self::Discovery { says } => write!(f, " {says:?}"),
            Self::EndpointChurn { every, with } => write!(f, " each {} {with:?}", span::told(*every)),
            Self::Burst { factor } => write!(f, " x{factor}"),
            Self::HotPrefix { share } | Self::Vanish { share } => write!(f, " {share}"),
            Self::LargePrompts { share, bytes } => write!(f, " {share} of {bytes} bytes"),
        }
    }
}
