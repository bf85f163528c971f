//! Owners of pools, and claims on pools.

use signalbox_types::{PeerAddress, max_believable_epoch};
use thiserror::Error;

/// The owner of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Name of the aggregator.
    pub name: String,
    /// Address of the aggregator.
    pub address: PeerAddress,
    /// The epoch in which it owns the pool.
    pub epoch: u64,
}

/// A pool's owner, as registered at the coordinator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RegisteredOwner {
    /// The coordinator has not answered yet.
    #[default]
    Unknown,
    /// Nobody owns the pool.
    Nobody,
    /// This aggregator owns the pool.
    Owned(Owner),
}

/// What a session asks for with a claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClaimRequest {
    /// The new epoch must be higher than this one.
    pub above: u64,
    /// The epoch of an owner that may be replaced although it is still registered. `None` claims only a pool
    /// that nobody else owns.
    pub replacing: Option<u64>,
}

impl ClaimRequest {
    /// Returns whether the claim fails because another session is `owner`.
    pub(crate) fn is_refused_by(self, owner: &Owner) -> bool {
        self.replacing != Some(owner.epoch)
    }
}

/// A granted claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Epoch of the new owner, higher than all earlier epochs of the pool.
    pub epoch: u64,
    /// The previous epoch; `None` if the coordinator knows of no earlier owner.
    pub previous: Option<u64>,
}

impl Claim {
    /// Returns the next claim on a pool whose last epoch was `previous`: `max(previous, floor) + 1`. A floor that
    /// cannot be genuine is ignored: it is an epoch that a peer invented.
    pub(crate) fn next(previous: Option<u64>, floor: u64) -> Result<Self, ClaimError> {
        let last = previous.unwrap_or(0);
        let limit = max_believable_epoch(last);
        if last >= limit {
            return Err(ClaimError::Unavailable(format!(
                "the coordinator has the impossible epoch {last} for this pool; delete what it has stored for the pool"
            )));
        }
        let epoch = if floor < limit { last.max(floor) + 1 } else { last + 1 };
        Ok(Self { epoch, previous })
    }
}

/// Why a claim was not granted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClaimError {
    /// Another session owns the pool.
    #[error("{} owns the pool in epoch {}", .0.name, .0.epoch)]
    Held(Owner),
    /// The coordinator did not answer, or this process is not registered with it.
    #[error("cannot claim the pool: {0}")]
    Unavailable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_of_the_named_epoch_is_replaced() {
        let owner = Owner { name: "a".to_owned(), address: "a:1".parse().unwrap(), epoch: 7 };
        let is_refused = |replacing| ClaimRequest { above: 9, replacing }.is_refused_by(&owner);
        assert!(is_refused(None) && is_refused(Some(6)) && is_refused(Some(8)));
        assert!(!is_refused(Some(7)));
    }

    #[test]
    fn claimed_epoch_is_higher_than_all_earlier_ones() {
        assert_eq!(Ok(Claim { epoch: 1, previous: None }), Claim::next(None, 0));
        assert_eq!(Ok(Claim { epoch: 8, previous: Some(7) }), Claim::next(Some(7), 3));
        assert_eq!(Ok(Claim { epoch: 10, previous: Some(7) }), Claim::next(Some(7), 9));
        assert_eq!(Ok(Claim { epoch: 8, previous: Some(7) }), Claim::next(Some(7), u64::MAX));
        assert_eq!(Ok(Claim { epoch: 1, previous: None }), Claim::next(None, u64::MAX - 1));
        assert!(matches!(Claim::next(Some(u64::MAX), 7), Err(ClaimError::Unavailable(_))));
    }
}
