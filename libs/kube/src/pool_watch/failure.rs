//! What a failed request means, and what to do about it.

use std::fmt;
use std::time::Duration;

use kube::core::Status;
use kube::runtime::watcher;

use crate::causes::causes;

/// The longest wait that an API server, or a proxy before it, can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// Why a list or a watch failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// This process may not do it.
    Forbidden { verb: &'static str, message: String },
    /// The API server does not know this process.
    Unauthorized(String),
    /// The resource does not exist (any more).
    NotFound,
    /// The API server does not have the history that the watch needs: it is gone, or the API server has an older one. The
    /// next attempt lists again.
    NoHistory,
    /// There are too many requests. The API server says how long to wait; zero if it does not say.
    Throttled(Duration),
    /// The API server cannot be reached, or cannot do it at the moment.
    Unavailable(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden { verb, message } => write!(f, "not permitted to {verb}: {message}"),
            Self::Unauthorized(message) => write!(f, "the credentials are not accepted: {message}"),
            Self::NotFound => f.write_str("not found"),
            Self::NoHistory => f.write_str("the history is gone"),
            Self::Throttled(_) => f.write_str("too many requests"),
            Self::Unavailable(message) => f.write_str(message),
        }
    }
}

impl Failure {
    pub(super) fn of_watch(error: &watcher::Error) -> Self {
        let (verb, error): (_, &(dyn std::error::Error + 'static)) = match error {
            watcher::Error::WatchError(status) => return Self::of_status("watch", status),
            watcher::Error::InitialListFailed(error) => ("list", error),
            watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => ("watch", error),
            watcher::Error::NoResourceVersion => return Self::Unavailable(error.to_string()),
        };
        match error.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) => Self::of_status(verb, status),
            _ => Self::Unavailable(causes(error)),
        }
    }

    pub(super) fn of_status(verb: &'static str, status: &Status) -> Self {
        let message = status.message.clone();
        match status.code {
            403 => Self::Forbidden { verb, message },
            401 => Self::Unauthorized(message),
            404 => Self::NotFound,
            410 => Self::NoHistory,
            _ if message.contains("Too large resource version") => Self::NoHistory,
            429 => {
                let wait = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                Self::Throttled(Duration::from_secs(wait.into()).min(MAX_RETRY_AFTER))
            }
            code => Self::Unavailable(format!("{message} (status {code})")),
        }
    }

    /// Returns whether this process may not do it, or is not known.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Forbidden { .. } | Self::Unauthorized(_))
    }

    /// Returns the shortest delay before the next attempt. `refused` is that after a refusal.
    pub(super) fn least_delay(&self, refused: Duration) -> Duration {
        match self {
            Self::Forbidden { .. } | Self::Unauthorized(_) => refused,
            Self::Throttled(wait) => *wait,
            // A watched resource is missing for a moment only, or else its watch ends.
            Self::NotFound | Self::NoHistory | Self::Unavailable(_) => Duration::ZERO,
        }
    }

    /// Returns whether `other` is a failure for the same reason.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answered(code: u16, message: &str) -> Failure {
        let details = json!({ "retryAfterSeconds": 7 });
        let status = json!({ "code": code, "message": message, "details": details });
        let status: Status = serde_json::from_value(status).unwrap();
        Failure::of_watch(&watcher::Error::InitialListFailed(kube::Error::Api(status.boxed())))
    }

    #[test]
    fn answers_are_told_apart() {
        let forbidden = Failure::Forbidden { verb: "list", message: "why".to_owned() };
        assert_eq!(forbidden, answered(403, "why"));
        assert_eq!(Failure::NotFound, answered(404, ""));
        assert_eq!(Failure::NoHistory, answered(410, ""));
        assert_eq!(Failure::Throttled(Duration::from_secs(7)), answered(429, ""));
        assert_eq!(Failure::NoHistory, answered(504, "Timeout: Too large resource version: 9, current: 3"));
        assert_eq!(Failure::Unavailable("why (status 500)".to_owned()), answered(500, "why"));
        assert!(matches!(
            Failure::of_watch(&watcher::Error::NoResourceVersion),
            Failure::Unavailable(text) if text.contains("resourceVersion")
        ));
    }

    #[test]
    fn watches_wait_as_long_as_they_are_told() {
        let refused = Duration::from_secs(10);
        assert_eq!(Duration::from_secs(7), answered(429, "").least_delay(refused));
        assert_eq!(refused, answered(403, "").least_delay(refused));
        for code in [404, 410, 503] {
            assert_eq!(Duration::ZERO, answered(code, "").least_delay(refused));
        }
        assert!(
            answered(403, "a").is_like(&answered(403, "b")) && !answered(403, "").is_like(&answered(404, ""))
        );
    }
}
