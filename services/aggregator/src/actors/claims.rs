//! Between a steward and the coordinator: what it sees of its pool goes to the steward, claims and releases to the coordinator.

use std::sync::Arc;

use signalbox_lease::{Claim, ClaimError, Coordinator, OwnerSeen, Role, Session};
use signalbox_state::{ClaimResult, ObservedOwner};
use signalbox_types::PoolId;

use super::pool_owner::{Message, PoolOwnerRef};

/// This aggregator's standing at the coordinator.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub(crate) coordinator: Coordinator,
    pub(crate) session: Arc<Session>,
    /// Whether other processes know it too, so that it remembers pools that others owned.
    pub(crate) memory: Memory,
}

/// What a coordinator knows of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Each owner that a pool ever had.
    Whole,
    /// Nothing of what was before this process: that a pool never had an owner is not known.
    SinceStart,
}

/// Tells `pool_owner` what the coordinator sees, until it is gone.
pub(super) fn watch(membership: &Membership, pool: &PoolId, pool_owner: &PoolOwnerRef) {
    let own_name = membership.session.name().to_owned();
    let (mut owner, watcher) = (membership.coordinator.owner(pool), pool_owner.clone());
    tokio::spawn(async move {
        loop {
            let seen = seen(&owner.borrow_and_update(), &own_name);
            if watcher.cast(Message::ObservedOwner(seen)).is_err() || owner.changed().await.is_err() {
                return;
            }
        }
    });
    let (mut members, watcher) = (membership.coordinator.members(Role::Aggregator), pool_owner.clone());
    tokio::spawn(async move {
        loop {
            let names = members.borrow_and_update().iter().map(|member| member.name.clone()).collect();
            if watcher.cast(Message::Candidates(names)).is_err() || members.changed().await.is_err() {
                return;
            }
        }
    });
}

fn seen(owner: &OwnerSeen, own_name: &str) -> ObservedOwner {
    match owner {
        OwnerSeen::Unknown => ObservedOwner::Unknown,
        OwnerSeen::Nobody => ObservedOwner::Nobody,
        OwnerSeen::Owned(owner) if owner.name == own_name => ObservedOwner::Own(owner.epoch),
        OwnerSeen::Owned(owner) => ObservedOwner::Other(owner.epoch),
    }
}

/// Claims the pool and tells `pool_owner` what came of it.
pub(super) fn claim(membership: &Membership, pool: &PoolId, above: u64, owner: &PoolOwnerRef) {
    let (membership, pool, owner) = (membership.clone(), pool.clone(), owner.clone());
    tokio::spawn(async move {
        let claimed = match membership.session.claim(&pool, above).await {
            Ok(Claim { epoch, previous }) => {
                ClaimResult::Won { epoch, is_first: previous.is_none() && membership.memory == Memory::Whole }
            }
            Err(ClaimError::Held(owner)) => ClaimResult::Held(owner.epoch),
            Err(ClaimError::Unavailable(reason)) => {
                tracing::warn!(%pool, reason, "the pool cannot be claimed");
                ClaimResult::Unanswered
            }
        };
        // A steward that is gone has a successor, which claims anew.
        let _ = owner.cast(Message::ClaimResult(claimed));
    });
}

/// Gives the pool up.
pub(super) fn release(membership: &Membership, pool: &PoolId) {
    let (session, pool) = (Arc::clone(&membership.session), pool.clone());
    tokio::spawn(async move {
        if let Err(error) = session.release(&pool).await {
            tracing::warn!(%pool, %error, "the pool is given up only when the lease ends");
        }
    });
}
