//! The outcome of a load: how each request ended, and failures by cause.
//!
//! Must not know how requests are sent.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::error::{ClientError, Lost};

/// Most example sentences that are kept for each cause.
pub const EXAMPLES_MAX: usize = 3;

/// Why a request of a load failed, as a storm counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The connection could not be opened.
    Connect,
    /// The connection broke before the answer's end.
    Reset,
    /// The answer was not complete in time.
    Timeout,
    /// The stream ended without an error, but also without `[DONE]`.
    Truncated,
    /// The stream began with 200 and reported an error.
    ErrorEvent,
    /// An answer with another status than 200.
    Status(u16),
    /// The answer was larger than the client accepts, or the request can't be sent.
    Unusable,
    /// Not sent: as many requests as allowed were open already.
    NotSent,
}

/// One request of a load. Its durations count from the moment it was due, so that a late sender's delay is included.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its place in the load, from 0.
    pub number: u64,
    /// When it was due, from the load's start.
    pub due: Duration,
    /// When it ended, from the load's start.
    pub ended: Duration,
    /// How it ended.
    pub outcome: Result<Success, Cause>,
}

/// A request that succeeded.
#[derive(Clone, Debug)]
pub struct Success {
    /// From the moment it was due to the first token, or to the first byte of an answer that is no stream.
    pub first_token: Duration,
    /// From the moment it was due to the end.
    pub total: Duration,
    /// The engine that answered (`x-inference-pod`).
    pub engine: Option<String>,
    /// The engine's token counts; `None` where it did not report them.
    pub usage: Option<Usage>,
}

/// Prompt tokens as the engine counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All prompt tokens.
    pub prompt_tokens: u64,
    /// Prompt tokens that it found in its cache.
    pub cached_tokens: u64,
}

/// The outcome of a load.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// All requests, by number.
    pub samples: Vec<Sample>,
    /// Up to [`EXAMPLES_MAX`] sentences for each cause.
    pub examples: BTreeMap<Cause, Vec<String>>,
}

// === impl Cause ===

impl From<&ClientError> for Cause {
    fn from(error: &ClientError) -> Self {
        match error.lost {
            Lost::Connect(_) => Self::Connect,
            Lost::Reset { .. } => Self::Reset,
            Lost::Timeout { .. } => Self::Timeout,
            Lost::Truncated { .. } => Self::Truncated,
            Lost::TooLarge { .. } | Lost::Request(_) => Self::Unusable,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Reset => f.write_str("reset"),
            Self::Timeout => f.write_str("timeout"),
            Self::Truncated => f.write_str("truncated"),
            Self::ErrorEvent => f.write_str("error event"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Unusable => f.write_str("unusable"),
            Self::NotSent => f.write_str("not sent"),
        }
    }
}

// === impl Tally ===

impl Tally {
    /// Requests that succeeded.
    pub fn ok(&self) -> usize {
        self.successes().count()
    }

    /// How many failed, by cause.
    pub fn failures(&self) -> BTreeMap<Cause, u64> {
        let mut failures = BTreeMap::new();
        for cause in self.samples.iter().filter_map(|sample| sample.outcome.as_ref().err()) {
            *failures.entry(*cause).or_default() += 1;
        }
        failures
    }

    /// The requests that succeeded.
    pub fn successes(&self) -> impl Iterator<Item = &Success> {
        self.samples.iter().filter_map(|sample| sample.outcome.as_ref().ok())
    }

    /// Their times to the end, ascending.
    pub fn totals(&self) -> Vec<Duration> {
        let mut totals: Vec<Duration> = self.successes().map(|success| success.total).collect();
        totals.sort_unstable();
        totals
    }

    pub(super) fn add(
        &mut self,
        number: u64,
        due: Duration,
        ended: Duration,
        outcome: Result<Success, (Cause, String)>,
    ) {
        let outcome = outcome.map_err(|(cause, sentence)| {
            let examples = self.examples.entry(cause).or_default();
            if examples.len() < EXAMPLES_MAX {
                examples.push(sentence);
            }
            cause
        });
        self.samples.push(Sample { number, due, ended, outcome });
    }

    /// Adds the outcome of another load, which began `later` after this one.
    pub fn absorb(&mut self, other: Self, later: Duration) {
        self.samples.extend(other.samples.into_iter().map(|sample| Sample {
            due: sample.due + later,
            ended: sample.ended + later,
            ..sample
        }));
        for (cause, sentences) in other.examples {
            let examples = self.examples.entry(cause).or_default();
            examples.extend(sentences);
            examples.truncate(EXAMPLES_MAX);
        }
    }
}

/// The `q`-quantile (0 to 1, nearest rank) of values in ascending order; `None` without values.
pub fn quantile(ascending: &[Duration], q: f64) -> Option<Duration> {
    let rank = (q.clamp(0.0, 1.0) * ascending.len() as f64).ceil() as usize;
    ascending.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let values: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(quantile(&values, 0.5), Some(Duration::from_millis(100)));
        assert_eq!(quantile(&values, 0.99), Some(Duration::from_millis(198)));
        assert_eq!(quantile(&values, 0.0), Some(Duration::from_millis(1)));
        assert_eq!(quantile(&values, 1.0), Some(Duration::from_millis(200)));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn failures_are_counted_by_cause_with_few_examples() {
        let mut tally = Tally::default();
        for number in 0..5 {
            tally.add(number, Duration::ZERO, Duration::ZERO, Err((Cause::Reset, format!("broke at {number}"))));
        }
        tally.add(5, Duration::ZERO, Duration::ZERO, Err((Cause::Status(503), "busy".to_owned())));
        assert_eq!(tally.failures(), BTreeMap::from([(Cause::Reset, 5), (Cause::Status(503), 1)]));
        assert_eq!(tally.examples[&Cause::Reset], ["broke at 0", "broke at 1", "broke at 2"]);
        let total = Duration::from_millis(2);
        let success = Success { first_token: total, total, engine: None, usage: None };
        tally.add(6, Duration::ZERO, Duration::ZERO, Ok(success));
        assert_eq!((tally.samples.len(), tally.ok(), tally.totals()), (7, 1, vec![total]));
    }
}
