//! Whether the aggregator works: the actor of each pool must make progress.
//!
//! An aggregator whose actor is stuck must not keep the pool. While the actor of a pool that it owns has stalled, it
//! does not renew its lease, so that another aggregator can claim the pool. When the actor goes on, it learns that it
//! is outranked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use signalbox_lease::{Coordinator, RegisteredOwner};
use signalbox_state::RoleStatus;
use signalbox_types::PoolId;
use tokio::sync::watch;

use crate::metrics::Metrics;
use crate::pools::{PoolHandle, Pools, STALL_LIMIT};

/// How often the actors are checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Names of pools that the answer to a probe lists at most.
const MAX_NAMES_LISTED: usize = 10;

/// Returns why the aggregator is not healthy, if it is not.
pub(crate) fn check(pools: &Pools) -> Result<(), String> {
    let stalled = stalled(pools);
    if stalled.is_empty() {
        return Ok(());
    }
    let listed = stalled.iter().take(MAX_NAMES_LISTED).map(|(pool, stalled_for)| {
        format!("pool {}: its actor has made no progress for {:.1} s\n", pool.pool, stalled_for.as_secs_f64())
    });
    let more = match stalled.len().saturating_sub(MAX_NAMES_LISTED) {
        0 => String::new(),
        more => format!("and {more} more pools\n"),
    };
    Err(listed.chain([more]).collect())
}

/// Returns the pools whose actors are stuck, and for how long they have been.
fn stalled(pools: &Pools) -> Vec<(Arc<PoolHandle>, Duration)> {
    let stalled = pools.all().into_iter().filter_map(|pool| Some((Arc::clone(&pool), pool.stalled_for()?)));
    stalled.collect()
}

/// Sees to it that the lease of an aggregator with a stuck actor ends.
#[derive(Debug)]
pub(crate) struct StallWatch {
    pub(crate) pools: Pools,
    pub(crate) coordinator: Coordinator,
    /// Name of this aggregator.
    pub(crate) name: String,
    pub(crate) metrics: Arc<Metrics>,
    /// Whether the lease may be renewed.
    pub(crate) may_renew: watch::Sender<bool>,
}

impl StallWatch {
    /// Watches the actors until the registration has ended.
    pub(crate) async fn run(self) {
        let mut logged = BTreeSet::new();
        loop {
            tokio::select! {
                () = tokio::time::sleep(CHECK_INTERVAL) => self.update(&mut logged),
                () = self.may_renew.closed() => return,
            }
        }
    }

    /// Checks all actors. `logged` has the pools that had stalled before.
    fn update(&self, logged: &mut BTreeSet<PoolId>) {
        let (stalled, mut may_renew) = (stalled(&self.pools), true);
        for (pool, stalled_for) in &stalled {
            let withholds_lease = self.is_own(pool);
            may_renew &= !withholds_lease;
            self.metrics.set_stalled(&pool.pool, stalled_for.as_secs());
            if logged.insert(pool.pool.clone()) {
                tracing::warn!(
                    pool = %pool.pool, limit = ?STALL_LIMIT, withholds_lease,
                    "the actor of a pool makes no progress"
                );
            }
        }
        logged.retain(|pool| {
            let stays = stalled.iter().any(|(stalled, _)| stalled.pool == *pool);
            if !stays {
                self.metrics.set_stalled(pool, 0);
                tracing::info!(%pool, "the actor of a pool makes progress again");
            }
            stays
        });
        self.metrics.lease_withheld.set(u64::from(!may_renew));
        self.may_renew.send_if_modified(|last| std::mem::replace(last, may_renew) != may_renew);
    }

    /// Returns whether this aggregator keeps others from owning the pool. Once another one owns it, this one may
    /// register again.
    fn is_own(&self, pool: &PoolHandle) -> bool {
        let was_own = matches!(*pool.status.borrow(), RoleStatus::Owner(_) | RoleStatus::TakingOver(_));
        let owner = self.coordinator.owner(&pool.pool);
        let is_taken = matches!(&*owner.borrow(), RegisteredOwner::Owned(owner) if owner.name != self.name);
        was_own && !is_taken
    }
}

#[cfg(test)]
mod tests;
