//! The condition `Accepted` of an object that refers to a pool: what it should say, whether it says so already, and the
//! status that makes it say so.
//!
//! Must not know who writes it, or when.

use serde_json::{Value, json};

/// The type of the condition.
const ACCEPTED: &str = "Accepted";
/// The longest message, in characters; one of a wrong field quotes what is there.
const MESSAGE_MAX: usize = 1_024;

/// What the condition should say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The object counts.
    Accepted,
    /// It has a field that can't be used; the sentence says which.
    Invalid(String),
    /// Its group does not count, because the current one is installed.
    Superseded,
}

/// The condition as an object has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    status: String,
    reason: String,
    /// The generation of the object that it is about.
    observed: Option<i64>,
    /// Since when it has this status.
    since: Option<String>,
}

// === impl Condition ===

impl Condition {
    /// That of `object`; `None` where it has none.
    pub fn of(object: &Value) -> Option<Self> {
        let conditions = object.get("status")?.get("conditions")?.as_array()?;
        let condition = conditions.iter().find(|condition| condition["type"] == ACCEPTED)?;
        let text = |field: &str| condition[field].as_str().map(str::to_owned);
        Some(Self {
            status: text("status").unwrap_or_default(),
            reason: text("reason").unwrap_or_default(),
            observed: condition["observedGeneration"].as_i64(),
            since: text("lastTransitionTime"),
        })
    }
}

// === impl Verdict ===

impl Verdict {
    /// Whether `condition`, of an object of this generation, says so already. Messages are not compared: they differ
    /// between releases, and two releases in one tier would correct each other for ever.
    pub fn is_said_by(&self, condition: Option<&Condition>, generation: i64) -> bool {
        let (status, reason) = (self.status(), self.reason());
        let says = |one: &Condition| one.status == status && one.reason == reason && one.observed == Some(generation);
        condition.is_some_and(says)
    }

    /// The status that says so, for server-side apply. `now` is an RFC 3339 time; a condition that keeps its status
    /// keeps its time.
    pub fn status_of(&self, condition: Option<&Condition>, generation: i64, now: &str) -> Value {
        let kept = condition.filter(|one| one.status == self.status()).and_then(|one| one.since.as_deref());
        let condition = json!({
            "type": ACCEPTED,
            "status": self.status(),
            "reason": self.reason(),
            "message": self.message(),
            "observedGeneration": generation,
            "lastTransitionTime": kept.unwrap_or(now),
        });
        json!({ "conditions": [condition] })
    }

    fn status(&self) -> &'static str {
        match self {
            Self::Accepted => "True",
            Self::Invalid(_) | Self::Superseded => "False",
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Invalid(_) => "Invalid",
            Self::Superseded => "Superseded",
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Accepted => "the pool's endpoint pickers apply it".to_owned(),
            Self::Invalid(why) => why.chars().take(MESSAGE_MAX).collect(),
            Self::Superseded => "objects of this group do not count while the group llm-d.ai is installed".to_owned(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BEFORE: &str = "2026-01-01T00:00:00Z";
    const NOW: &str = "2026-01-02T00:00:00Z";

    #[test]
    fn a_condition_that_was_written_is_right_until_the_object_or_the_verdict_changes() {
        let invalid = || Verdict::Invalid("`spec.priority`: no".to_owned());
        for verdict in [Verdict::Accepted, invalid(), Verdict::Superseded] {
            assert!(!verdict.is_said_by(None, 1));
            let object = json!({ "status": verdict.status_of(None, 1, BEFORE) });
            let condition = Condition::of(&object);
            assert!(verdict.is_said_by(condition.as_ref(), 1), "{verdict:?}");
            assert!(!verdict.is_said_by(condition.as_ref(), 2), "another generation");
            let others = [Verdict::Accepted, invalid(), Verdict::Superseded].into_iter().filter(|one| *one != verdict);
            others.for_each(|other| assert!(!other.is_said_by(condition.as_ref(), 1), "{other:?}"));
        }
        assert_eq!(Condition::of(&json!({})), None);
        // What the CRD writes by default is not what a picker says.
        let pending = json!([{ "type": "Accepted", "status": "Unknown", "reason": "Pending" }]);
        let pending = Condition::of(&json!({ "status": { "conditions": pending } }));
        assert!(!Verdict::Accepted.is_said_by(pending.as_ref(), 1));
    }

    #[test]
    fn the_time_is_that_of_the_last_change_of_status() {
        let condition = Condition::of(&json!({ "status": Verdict::Superseded.status_of(None, 1, BEFORE) }));
        let time = |verdict: Verdict| verdict.status_of(condition.as_ref(), 2, NOW)["conditions"][0].clone();
        assert_eq!(time(Verdict::Invalid("no".to_owned()))["lastTransitionTime"], BEFORE);
        let accepted = time(Verdict::Accepted);
        assert_eq!(
            (accepted["lastTransitionTime"].as_str(), accepted["observedGeneration"].as_i64()),
            (Some(NOW), Some(2))
        );
    }

    #[test]
    fn a_message_is_bounded() {
        let status = Verdict::Invalid("ä".repeat(5_000)).status_of(None, 1, NOW);
        assert_eq!(status["conditions"][0]["message"].as_str().unwrap().chars().count(), MESSAGE_MAX);
    }
}
