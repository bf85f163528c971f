//! Why a request about Leases failed.

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
    /// The API server did not answer, or could not do it at the moment.
    #[error("{0}")]
    Unavailable(String),
}

impl LeaseError {
    pub(super) fn new(verb: &str, namespace: &str, error: kube::Error) -> Self {
        let kube::Error::Api(status) = error else {
            return Self::Unavailable(format!(
                "cannot {verb} leases in namespace {namespace}: {}",
                causes(&error)
            ));
        };
        let message = &status.message;
        match status.code {
            404 => Self::NotFound,
            409 => Self::Conflict,
            403 => Self::Refused(format!(
                "not allowed to {verb} leases in namespace {namespace}: {message}; the Role needs the verb \
                 {verb} on leases of coordination.k8s.io"
            )),
            429 | 500.. => {
                Self::Unavailable(format!("cannot {verb} leases in namespace {namespace}: {message}"))
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
        for code in [429, 500, 503, 504] {
            assert!(matches!(answered(code), LeaseError::Unavailable(_)), "{code}");
        }
        for code in [400, 401, 403, 410, 422] {
            assert!(matches!(answered(code), LeaseError::Refused(_)), "{code}");
        }
    }

    #[test]
    fn missing_rule_is_named() {
        let text = answered(403).to_string();
        assert!(text.contains("verb update on leases") && text.contains("namespace ns"), "{text}");
    }
}
