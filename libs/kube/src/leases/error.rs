//! Why a request about Leases failed.

use std::time::Duration;

use thiserror::Error;

use crate::causes::causes;

/// Why a request about Leases failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LeaseError {
    /// The Lease changed since it was read, or exists already.
    #[error("the Lease has changed since it was read")]
    Conflict,
    /// The Lease does not exist.
    #[error("the Lease does not exist")]
    NotFound,
    /// The API server answered that it does not do this.
    #[error("{0}")]
    Refused(String),
    /// The API server asks not to be asked again before this time.
    #[error("{0}")]
    Throttled(String, Duration),
    /// The API server did not answer, or could not do it at the moment.
    #[error("{0}")]
    Unavailable(String),
}

/// How long to wait after an answer that says to wait but not for how long, as that of an API server without room
/// for the request, and for how long at most.
const DEFAULT_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl LeaseError {
    /// Returns for how long the API server asks not to be asked again.
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::Throttled(_, wait) => *wait,
            _ => Duration::ZERO,
        }
    }

    pub(super) fn new(verb: &str, namespace: &str, error: kube::Error) -> Self {
        let kube::Error::Api(status) = error else {
            return Self::Unavailable(format!(
                "cannot {verb} leases in namespace {namespace}: {}",
                causes(&error)
            ));
        };
        let message = &status.message;
        let wait = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
        let wait = Duration::from_secs(wait.into()).min(LONGEST_WAIT);
        match status.code {
            404 => Self::NotFound,
            409 => Self::Conflict,
            403 => Self::Refused(format!(
                "not allowed to {verb} leases in namespace {namespace}: {message}; the Role needs the verb \
                 {verb} on leases of coordination.k8s.io"
            )),
            429 | 500.. => {
                let text = format!("cannot {verb} leases in namespace {namespace}: {message}");
                match (status.code, wait.is_zero()) {
                    (429, true) => Self::Throttled(text, DEFAULT_WAIT),
                    (_, true) => Self::Unavailable(text),
                    (_, false) => Self::Throttled(text, wait),
                }
            }
            _ => Self::Refused(format!("cannot {verb} leases in namespace {namespace}: {message}")),
        }
    }

    pub(super) fn timeout(verb: &str, namespace: &str) -> Self {
        Self::Unavailable(format!("cannot {verb} leases in namespace {namespace}: no answer in time"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16) -> LeaseError {
        let status = kube::core::Status { code, message: "why".to_owned(), ..Default::default() };
        LeaseError::new("update", "ns", kube::Error::Api(status.boxed()))
    }

    #[test]
    fn answers_are_told_apart_from_silence() {
        assert_eq!((LeaseError::Conflict, LeaseError::NotFound), (answered(409), answered(404)));
        assert!(matches!(answered(429), LeaseError::Throttled(_, DEFAULT_WAIT)));
        for code in [500, 503, 504] {
            assert!(matches!(answered(code), LeaseError::Unavailable(_)), "{code}");
        }
        for code in [400, 401, 403, 410, 422] {
            assert!(matches!(answered(code), LeaseError::Refused(_)), "{code}");
        }
    }

    #[test]
    fn the_wait_that_the_server_asks_for_is_known() {
        let told = |code: u16, seconds: u32| {
            let details = serde_json::json!({ "retryAfterSeconds": seconds });
            let status = serde_json::json!({ "code": code, "message": "why", "details": details });
            let status: kube::core::Status = serde_json::from_value(status).unwrap();
            LeaseError::new("update", "ns", kube::Error::Api(status.boxed())).retry_after().as_secs()
        };
        assert_eq!(
            [7, 3, 30, 1, 0],
            [told(429, 7), told(503, 3), told(429, 999), told(429, 0), told(503, 0)]
        );
    }

    #[test]
    fn missing_rule_is_named() {
        let text = answered(403).to_string();
        assert!(text.contains("verb update on leases") && text.contains("namespace ns"), "{text}");
    }
}
