//! Why a watch failed, as a label for metrics and a sentence for people.
//!
//! Must not know what is done about it.

use std::error::Error as _;

use kube::runtime::watcher;

/// Why a watch failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) why: String,
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Events before some moment are no longer kept (410). Everything is listed anew; this is normal.
    Expired,
    /// The API server does not know this kind of object: its CRD is not installed.
    Absent,
    /// The ServiceAccount lacks a right, or is not known.
    Denied,
    /// Another answer that is no success.
    Status,
    /// No answer, or one that broke off.
    Unreachable,
    /// An answer that can't be read.
    Malformed,
}

// === impl Failure ===

impl Failure {
    /// What `error` means for the watch of `resource`.
    pub(super) fn of(error: &watcher::Error, resource: &str) -> Self {
        let rights = format!("Role must allow get, list and watch of {resource}");
        let resource = (resource, rights.as_str());
        use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
        match error {
            InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => Self::of_client(error, resource),
            WatchError(status) => Self::of_status(status.code, &status.message, resource),
            NoResourceVersion => Self { kind: Kind::Malformed, why: error.to_string() },
        }
    }

    /// What `error` means for a write of the status of `resource`.
    pub(super) fn of_write(error: &kube::Error, resource: &str) -> Self {
        let plural = resource.split_once('.').map_or(resource, |(plural, _)| plural);
        let rights = format!("Role must allow patch of {plural}/status, or its conditions stay as they are");
        Self::of_client(error, (resource, &rights))
    }

    /// What `error` means for a review of a caller, of this plural.
    pub(super) fn of_review(error: &kube::Error, resource: &str) -> Self {
        let rights =
            format!("ClusterRole must allow create of {resource}, or the flag --metrics-endpoint-auth be false");
        Self::of_client(error, (resource, &rights))
    }

    fn of_client(error: &kube::Error, resource: (&str, &str)) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(status.code, &status.message, resource),
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) | kube::Error::LinesCodecMaxLineLengthExceeded => {
                Self { kind: Kind::Malformed, why: chain(error) }
            }
            _ => Self { kind: Kind::Unreachable, why: chain(error) },
        }
    }

    fn of_status(code: u16, message: &str, (resource, rights): (&str, &str)) -> Self {
        let (kind, cure) = match code {
            410 => (Kind::Expired, String::new()),
            404 => (Kind::Absent, format!("; is the CRD of {resource} installed?")),
            401 => (Kind::Denied, "; is the token of its ServiceAccount mounted and valid?".to_owned()),
            403 => (Kind::Denied, format!("; its {rights}")),
            _ => (Kind::Status, String::new()),
        };
        let message = message.trim().trim_end_matches('.');
        Self { kind, why: format!("the API server answers {code}: {message}{cure}") }
    }

    /// Whether asking again changes nothing until an operator acts.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self.kind, Kind::Absent | Kind::Denied)
    }
}

// === impl Kind ===

impl Kind {
    /// A stable label.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Absent => "absent",
            Self::Denied => "denied",
            Self::Status => "status",
            Self::Unreachable => "unreachable",
            Self::Malformed => "malformed",
        }
    }
}

/// An error with what caused it. Causes that repeat the former sentence are left out.
fn chain(error: &kube::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let sentence = error.to_string();
        if !text.contains(&sentence) {
            text = format!("{text}: {sentence}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn an_answer_of_the_api_server_is_named_with_its_cure() {
        let of = |code: u16| {
            let status = Status { code, message: "no.".to_owned(), ..Status::default() };
            Failure::of(&watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status))), "pods")
        };
        let cases = [
            (401, "denied", "token", true),
            (403, "denied", "Role must allow get, list and watch of pods", true),
            (404, "absent", "CRD of pods", true),
            (410, "expired", "410: no", false),
            (429, "status", "429: no", false),
            (503, "status", "503: no", false),
        ];
        for (code, kind, why, refusal) in cases {
            let failure = of(code);
            assert_eq!((failure.kind.as_str(), failure.is_refusal()), (kind, refusal), "{code}");
            assert!(failure.why.contains(why), "{}", failure.why);
        }
        assert_eq!(Failure::of(&watcher::Error::NoResourceVersion, "pods").kind, Kind::Malformed);
    }

    #[test]
    fn causes_are_told_once() {
        let cause = std::io::Error::other("connection refused");
        let failure = Failure::of(&watcher::Error::WatchFailed(kube::Error::ReadEvents(cause)), "pods");
        assert_eq!(failure.kind, Kind::Unreachable);
        assert_eq!(failure.why.matches("connection refused").count(), 1, "{}", failure.why);
    }
}
