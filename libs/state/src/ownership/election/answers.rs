//! What the coordinator reports and answers.

/// What the coordinator reports about a pool's owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ObservedOwner {
    /// Nothing was reported yet.
    #[default]
    Unknown,
    /// The pool has no owner.
    Nobody,
    /// This aggregator owns the pool under this epoch.
    Own(u64),
    /// Another aggregator owns the pool.
    Other {
        /// The name of the aggregator.
        name: String,
        /// The epoch under which it owns the pool.
        epoch: u64,
    },
}

impl ObservedOwner {
    /// Returns the owner's epoch, if the pool has an owner.
    pub(crate) fn epoch(&self) -> Option<u64> {
        match self {
            Self::Unknown | Self::Nobody => None,
            Self::Own(epoch) | Self::Other { epoch, .. } => Some(*epoch),
        }
    }
}

/// The result of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimResult {
    /// This aggregator owns the pool.
    Won {
        /// The epoch of the ownership.
        epoch: u64,
        /// Whether the pool certainly has no history, because it never had an owner.
        is_first: bool,
    },
    /// Another aggregator owns the pool under this epoch.
    Held(u64),
    /// The coordinator did not answer.
    Unanswered,
}

impl ClaimResult {
    /// Returns the epoch that the coordinator has granted to this or another aggregator, if it answered.
    pub(crate) fn epoch(self) -> Option<u64> {
        match self {
            Self::Won { epoch, .. } | Self::Held(epoch) => Some(epoch),
            Self::Unanswered => None,
        }
    }
}
