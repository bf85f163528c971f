//! Error of requests to the coordinator.

use thiserror::Error;

/// The coordinator is not available at the moment.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the coordinator is unavailable: {0}")]
pub struct Unavailable(pub(crate) String);
