//! What can go wrong.
//!
//! Must not know how it is done, in a simulation or to processes. Each fault has a duration (see [`super::Strike`]), and a probability
//! holds for all of it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Part, Place, Town, span};

/// A fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Fault {
    // ---------- replicas ----------
    /// Gone at once, as by SIGKILL; starts again afterwards, as a new life or (wrongly configured) as the old one.
    Kill {
        /// Whom.
        who: Place,
        /// Whether it comes back with the incarnation that it had.
        #[serde(default)]
        same_life: bool,
    },
    /// Stands still, as by SIGSTOP; goes on afterwards as if nothing had been.
    Freeze {
        /// Whom.
        who: Place,
    },
    /// Leaves in order, as by SIGTERM; starts again afterwards.
    Drain {
        /// Whom.
        who: Place,
    },
    /// Leaves in order and comes back speaking the wire version that is given, above or below its own.
    Upgrade {
        /// Whom.
        who: Place,
        /// The highest version that it speaks.
        wire_version: u16,
    },
    /// Reads its configuration again.
    Reload {
        /// Whom.
        who: Place,
    },
    /// One of its parts, an actor or a task, ends at once; the replica goes on and must start it again.
    KillPart {
        /// Whose.
        who: Place,
        /// Which.
        part: Part,
    },
    /// Gone at once, as by `kill`, and back with a wall clock that was set to another time meanwhile.
    ClockStep {
        /// Whom.
        who: Place,
        /// Milliseconds that its wall clock is set forward; negative for back.
        step_ms: i64,
    },
    /// Its clock is off, and runs too fast or too slow.
    Clock {
        /// Whom.
        who: Place,
        /// Parts in a million that it runs too fast; negative for too slow.
        drift_ppm: i32,
    },

    // ---------- the network ----------
    /// Nothing comes through.
    Cut {
        /// From here.
        from: Place,
        /// To there.
        to: Place,
        /// Whether the way back is open.
        #[serde(default)]
        one_way: bool,
    },
    /// Packets are lost, both ways.
    Loss {
        /// Between here.
        from: Place,
        /// And there.
        to: Place,
        /// Which share of them, 0 to 1.
        share: f64,
    },
    /// Packets are late, both ways, and so may pass each other.
    Delay {
        /// Between here.
        from: Place,
        /// And there.
        to: Place,
        /// By at least this.
        #[serde(with = "span")]
        least: Duration,
        /// By at most this.
        #[serde(with = "span")]
        most: Duration,
    },

    /// Datagrams arrive, and arrive a second time later. Nothing is lost.
    Replay {
        /// Between here.
        from: Place,
        /// And there.
        to: Place,
        /// Which share of them, 0 to 1.
        share: f64,
        /// Later by at least this.
        #[serde(with = "span")]
        least: Duration,
        /// Later by at most this.
        #[serde(with = "span")]
        most: Duration,
    },

    // ---------- engines ----------
    /// Gone at once, with its cache; starts again afterwards, empty.
    EngineKill {
        /// Which.
        who: Place,
    },
    /// Slower.
    EngineSlow {
        /// Which.
        who: Place,
        /// Steps take so many times as long.
        factor: f64,
    },
    /// Its metrics page is no good.
    EnginePage {
        /// Which.
        who: Place,
        /// What is wrong with it.
        page: Page,
    },

    // ---------- discovery ----------
    /// Discovery says something else than what is.
    Discovery {
        /// What.
        says: Discovery,
    },

    /// Engines are replaced, one after the other, as by a deployment that is rolled out: whoever comes has an empty cache, and what was
    /// before never comes back.
    EndpointChurn {
        /// From one to the next.
        #[serde(with = "span")]
        every: Duration,
        /// What is another one afterwards.
        with: Replacement,
    },

    // ---------- traffic ----------
    /// More is asked.
    Burst {
        /// So many times as much.
        factor: f64,
    },
    /// Requests have one beginning in common.
    HotPrefix {
        /// Which share of them.
        share: f64,
    },
    /// Clients hang up in the middle.
    Vanish {
        /// Which share of them.
        share: f64,
    },
    /// Prompts are large.
    LargePrompts {
        /// Which share of them.
        share: f64,
        /// Bytes.
        bytes: usize,
    },
}

/// What is wrong with a metrics page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Page {
    /// It stays as it was.
    Stale,
    /// It ends in the middle.
    Torn,
    /// It says that nothing is waiting or running.
    Lying,
    /// It never ends.
    Endless,
    /// The answer is status 500.
    Error,
}

/// What discovery says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Discovery {
    /// Endpoints go and come again, each in its turn.
    Flap,
    /// The pool as it was at the start, whatever changed since.
    Old,
    /// That there is nobody.
    Empty,
    /// Nothing at all.
    Silent,
}

/// What is another one where an engine was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Replacement {
    /// The name: the endpoint leaves for ever, and another one comes with its address.
    NewName,
    /// The address: the same endpoint is announced elsewhere.
    NewAddress,
}

// === impl Fault ===

impl Fault {
    /// The names of all faults, as plans write them.
    pub const NAMES: &'static [&'static str] = &[
        "kill",
        "freeze",
        "drain",
        "upgrade",
        "reload",
        "kill-part",
        "clock-step",
        "clock",
        "cut",
        "loss",
        "delay",
        "replay",
        "engine-kill",
        "engine-slow",
        "engine-page",
        "discovery",
        "endpoint-churn",
        "burst",
        "hot-prefix",
        "vanish",
        "large-prompts",
    ];

    /// Its name, as plans write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::Freeze { .. } => "freeze",
            Self::Drain { .. } => "drain",
            Self::Upgrade { .. } => "upgrade",
            Self::Reload { .. } => "reload",
            Self::KillPart { .. } => "kill-part",
            Self::ClockStep { .. } => "clock-step",
            Self::Clock { .. } => "clock",
            Self::Cut { .. } => "cut",
            Self::Loss { .. } => "loss",
            Self::Delay { .. } => "delay",
            Self::Replay { .. } => "replay",
            Self::EngineKill { .. } => "engine-kill",
            Self::EngineSlow { .. } => "engine-slow",
            Self::EnginePage { .. } => "engine-page",
            Self::Discovery { .. } => "discovery",
            Self::EndpointChurn { .. } => "endpoint-churn",
            Self::Burst { .. } => "burst",
            Self::HotPrefix { .. } => "hot-prefix",
            Self::Vanish { .. } => "vanish",
            Self::LargePrompts { .. } => "large-prompts",
        }
    }

    /// Who is struck; both ends of a way.
    pub fn places(&self) -> Vec<Place> {
        match self {
            Self::Kill { who, .. } | Self::Freeze { who } | Self::Drain { who } | Self::Upgrade { who, .. } => {
                vec![*who]
            }
            Self::Reload { who } | Self::Clock { who, .. } => vec![*who],
            Self::KillPart { who, .. } | Self::ClockStep { who, .. } => vec![*who],
            Self::EngineKill { who } | Self::EngineSlow { who, .. } | Self::EnginePage { who, .. } => vec![*who],
            Self::Cut { from, to, .. } | Self::Loss { from, to, .. } => vec![*from, *to],
            Self::Delay { from, to, .. } | Self::Replay { from, to, .. } => vec![*from, *to],
            Self::Discovery { .. } | Self::EndpointChurn { .. } => vec![Place::Discovery],
            Self::Burst { .. } | Self::HotPrefix { .. } | Self::Vanish { .. } | Self::LargePrompts { .. } => {
                vec![Place::Gateway]
            }
        }
    }

    /// Whether endpoints come and go by it.
    pub fn changes_endpoints(&self) -> bool {
        matches!(self, Self::Discovery { .. } | Self::EndpointChurn { .. })
    }

    pub(super) fn check(&self, town: &Town) -> Result<(), String> {
        self.places().into_iter().try_for_each(|place| place.check(town))?;
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
            Self::LargePrompts { share: some, bytes } if *bytes <= 8 << 20 => share(*some),
            Self::LargePrompts { bytes, .. } => Err(format!("bytes must be at most {}, not {bytes}", 8 << 20)),
            Self::EngineSlow { factor: times, .. } | Self::Burst { factor: times } => factor(*times),
            Self::Kill { who, .. } | Self::Freeze { who } | Self::Drain { who } | Self::Upgrade { who, .. } => {
                replicas_only(*who, town)
            }
            Self::Reload { who } | Self::Clock { who, .. } => replicas_only(*who, town),
            Self::KillPart { who, .. } | Self::ClockStep { who, .. } => replicas_only(*who, town),
            Self::EngineKill { who } if who.engines(town).is_empty() => Err(format!("{who} has no engine")),
            _ => Ok(()),
        }
    }
}

fn replicas_only(who: Place, town: &Town) -> Result<(), String> {
    match who.replicas(town).is_empty() {
        true => Err(format!("{who} has no replica")),
        false => Ok(()),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Kill { who, same_life: true } => write!(f, " {who}, same life"),
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
            Self::Discovery { says } => write!(f, " {says:?}"),
            Self::EndpointChurn { every, with } => write!(f, " each {} {with:?}", span::told(*every)),
            Self::Burst { factor } => write!(f, " x{factor}"),
            Self::HotPrefix { share } | Self::Vanish { share } => write!(f, " {share}"),
            Self::LargePrompts { share, bytes } => write!(f, " {share} of {bytes} bytes"),
        }
    }
}
