//! Errors of requests to the coordinator.

use thiserror::Error;

/// The coordinator is not available at the moment.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the coordinator is unavailable: {0}")]
pub struct Unavailable(pub(crate) String);

/// Why a signal was not stored.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The pool has an owner of a later epoch, or had one.
    #[error("an owner of the later epoch {0} stores signals now")]
    Outranked(u64),
    /// The coordinator did not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl StoreError {
    /// Checks that no owner of a later epoch than `epoch` is known. `last` is the pool's last epoch.
    pub(crate) fn check_rank(epoch: u64, last: Option<u64>) -> Result<(), Self> {
        last.filter(|last| *last > epoch).map_or(Ok(()), |last| Err(Self::Outranked(last)))
    }
}
