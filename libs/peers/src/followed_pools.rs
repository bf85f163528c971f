//! The pools that a process follows.

/// The pools that a replica or a collector follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FollowedPools {
    /// This one, NAMESPACE/NAME; without a name, the only one that the aggregators have.
    One(Option<String>),
    /// All pools of the [`Fleet`](crate::Fleet).
    All,
}

impl FollowedPools {
    /// Returns the name of the only pool, if it is known.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::One(name) => name.as_deref(),
            Self::All => None,
        }
    }
}
