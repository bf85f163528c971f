//! Connects a pool's actor with the coordinator: forwards what the coordinator reports, and sends claims and
//! releases.

use std::sync::Arc;

use signalbox_lease::{Claim, ClaimError, ClaimRequest, Coordinator, RegisteredOwner, Role, Session};
use signalbox_state::{ClaimResult, ObservedOwner};
use signalbox_types::PoolId;
use tokio::task::JoinSet;

use crate::pools::{PoolOwnerMessage, PoolOwnerRef};

/// This aggregator's membership at the coordinator.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub(crate) coordinator: Coordinator,
    pub(crate) session: Arc<Session>,
    pub(crate) owner_history: OwnerHistory,
}

/// Which earlier owners the coordinator knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnerHistory {
    /// All of them: without an earlier epoch, a pool certainly never had an owner.
    Complete,
    /// Only those since the start of this process: a pool without an earlier epoch may still have had an
    /// owner.
    SinceStart,
}

/// Adds tasks to `tasks` that forward the pool's owner and the live aggregators to `actor`.
pub(super) fn watch(membership: &Membership, pool: &PoolId, actor: &PoolOwnerRef, tasks: &mut JoinSet<()>) {
    let own_name = membership.session.name().to_owned();
    let (mut owner, watcher) = (membership.coordinator.owner(pool), actor.clone());
    tasks.spawn(async move {
        loop {
            let observed = observed_owner(&owner.borrow_and_update(), &own_name);
            let message = PoolOwnerMessage::OwnerObserved(observed);
            if watcher.cast(message).is_err() || owner.changed().await.is_err() {
                return;
            }
        }
    });
    let (mut members, watcher) = (membership.coordinator.members(Role::Aggregator), actor.clone());
    tasks.spawn(async move {
        loop {
            let names = members.borrow_and_update().iter().map(|member| member.name.clone()).collect();
            let message = PoolOwnerMessage::Candidates(names);
            if watcher.cast(message).is_err() || members.changed().await.is_err() {
                return;
            }
        }
    });
}

fn observed_owner(owner: &RegisteredOwner, own_name: &str) -> ObservedOwner {
    match owner {
        RegisteredOwner::Unknown => ObservedOwner::Unknown,
        RegisteredOwner::Nobody => ObservedOwner::Nobody,
        RegisteredOwner::Owned(owner) if owner.name == own_name => ObservedOwner::Own(owner.epoch),
        RegisteredOwner::Owned(owner) => {
            ObservedOwner::Other { name: owner.name.clone(), epoch: owner.epoch }
        }
    }
}

/// Claims the pool and sends the result to `actor`.
pub(super) fn claim(membership: &Membership, pool: &PoolId, request: ClaimRequest, actor: &PoolOwnerRef) {
    if let Some(epoch) = request.replacing {
        tracing::warn!(%pool, epoch, "the pool's owner is gone; claiming the pool before its lease ends");
    }
    let (membership, pool, actor) = (membership.clone(), pool.clone(), actor.clone());
    tokio::spawn(async move {
        let result = match membership.session.claim(&pool, request).await {
            Ok(Claim { epoch, previous }) => {
                let is_first = previous.is_none() && membership.owner_history == OwnerHistory::Complete;
                ClaimResult::Won { epoch, is_first }
            }
            Err(ClaimError::Held(owner)) => ClaimResult::Held(owner.epoch),
            Err(ClaimError::Unavailable(reason)) => {
                tracing::warn!(%pool, reason, "cannot claim the pool");
                ClaimResult::Unanswered
            }
        };
        let is_won = matches!(result, ClaimResult::Won { .. });
        // If the actor has stopped, the pool may be gone. If it is not, the actor's successor claims again.
        if actor.cast(PoolOwnerMessage::ClaimAnswered(result)).is_err() && is_won {
            release(&membership, &pool);
        }
    });
}

/// Releases the pool.
pub(super) fn release(membership: &Membership, pool: &PoolId) {
    let (session, pool) = (Arc::clone(&membership.session), pool.clone());
    tokio::spawn(async move {
        if let Err(error) = session.release(&pool).await {
            tracing::warn!(%pool, %error, "cannot release the pool; it is released when the lease expires");
        }
    });
}
