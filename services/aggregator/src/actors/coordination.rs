//! Connects a pool's actor with the coordinator: forwards what the coordinator reports, and sends claims and
//! releases.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    pub(crate) claim_failures: Arc<ClaimFailures>,
}

/// The pools whose last claim got no answer, and why, so that an outage is logged once and not per pool and attempt.
#[derive(Debug, Default)]
pub(crate) struct ClaimFailures(Mutex<BTreeMap<PoolId, String>>);

impl ClaimFailures {
    /// Records the outcome of a claim, and logs a failure for a reason that no other pool has.
    fn record(&self, pool: &PoolId, failure: Option<&str>) {
        if let Some(reason) = failure {
            if self.is_new(pool, reason) {
                tracing::warn!(%pool, reason, "cannot claim the pool; retrying");
            } else {
                tracing::debug!(%pool, reason, "cannot claim the pool; retrying");
            }
        } else if self.pools().remove(pool).is_some() {
            tracing::debug!(%pool, "the pool can be claimed again");
        }
    }

    /// Forgets the failure of a pool that this aggregator does not claim any more.
    pub(super) fn forget(&self, pool: &PoolId) {
        self.pools().remove(pool);
    }

    /// Remembers a failure. Returns whether no pool had this reason before.
    fn is_new(&self, pool: &PoolId, reason: &str) -> bool {
        let mut pools = self.pools();
        let is_new = !pools.values().any(|known| known == reason);
        pools.insert(pool.clone(), reason.to_owned());
        is_new
    }

    fn pools(&self) -> MutexGuard<'_, BTreeMap<PoolId, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        let owner = membership.coordinator.owner(pool).borrow().clone();
        if observed_owner(&owner, membership.session.name()) == ObservedOwner::Own(epoch) {
            // An earlier run of this process owned it, or the answer to an earlier claim got lost.
            tracing::debug!(%pool, epoch, "claiming the pool again");
        } else {
            tracing::warn!(%pool, epoch, "the pool's owner is gone; claiming the pool before its lease ends");
        }
    }
    let (membership, pool, actor) = (membership.clone(), pool.clone(), actor.clone());
    tokio::spawn(async move {
        let claimed = membership.session.claim(&pool, request).await;
        let failure = match &claimed {
            Err(ClaimError::Unavailable(reason)) => Some(reason.as_str()),
            Ok(_) | Err(ClaimError::Held(_)) => None,
        };
        membership.claim_failures.record(&pool, failure);
        let result = match claimed {
            Ok(Claim { epoch, previous }) => {
                let is_first = previous.is_none() && membership.owner_history == OwnerHistory::Complete;
                ClaimResult::Won { epoch, is_first }
            }
            Err(ClaimError::Held(owner)) => ClaimResult::Held(owner.epoch),
            Err(ClaimError::Unavailable(_)) => ClaimResult::Unanswered,
        };
        let is_won = matches!(result, ClaimResult::Won { .. });
        // If the actor has stopped, the pool may be gone. If it is not, the actor's successor claims again.
        if actor.cast(PoolOwnerMessage::ClaimAnswered(result)).is_err() {
            membership.claim_failures.forget(&pool);
            if is_won {
                release(&membership, &pool);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_logged_once_per_outage() {
        let failures = ClaimFailures::default();
        let pool = |name: &str| PoolId { namespace: "n".to_owned(), name: name.to_owned() };
        assert!(failures.is_new(&pool("a"), "down"));
        assert!(!failures.is_new(&pool("a"), "down") && !failures.is_new(&pool("b"), "down"));
        assert!(failures.is_new(&pool("c"), "refused"));
        for name in ["a", "b", "c"] {
            failures.record(&pool(name), None);
        }
        assert!(failures.is_new(&pool("b"), "down"));
        failures.forget(&pool("b"));
        assert!(failures.is_new(&pool("c"), "down"), "a pool that is gone hides no failure");
    }

    #[tokio::test]
    async fn own_pool_is_told_from_that_of_another() {
        let coordinator = Coordinator::in_process();
        let ttl = std::time::Duration::from_secs(60);
        let address = Some("a:1".parse().unwrap());
        let member = signalbox_lease::Member { role: Role::Aggregator, name: "a".to_owned(), address };
        let session = coordinator.join(member, ttl);
        let pool = PoolId { namespace: "n".to_owned(), name: "p".to_owned() };
        let epoch = session.claim(&pool, ClaimRequest::default()).await.unwrap().epoch;
        let owner = coordinator.owner(&pool).borrow().clone();
        assert_eq!(ObservedOwner::Own(epoch), observed_owner(&owner, "a"));
        assert!(matches!(observed_owner(&owner, "b"), ObservedOwner::Other { .. }));
    }
}
