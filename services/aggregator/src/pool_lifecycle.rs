//! Which pools this aggregator keeps, as pools come and go. Pure.
//!
//! A pool that is gone is kept as it was for a while: gateways need time to notice, and until then replicas pick its
//! endpoints. Running requests stay booked until they end.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_types::{PoolId, PoolSpec};

use crate::pool_source::PoolSet;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LifecycleEffect {
    /// Start the pool.
    Start(PoolId, Arc<PoolSpec>),
    /// The pool has a new specification.
    Update(PoolId, Arc<PoolSpec>),
    /// The pool is gone.
    Retire(PoolId),
    /// The pool has been gone for long enough: stop it.
    Stop(PoolId),
}

/// The pools that this aggregator keeps.
#[derive(Debug)]
pub(crate) struct PoolLifecycle {
    /// How long a pool is kept after it is gone.
    drain_ms: u64,
    pools: BTreeMap<PoolId, Kept>,
}

#[derive(Debug)]
struct Kept {
    spec: Arc<PoolSpec>,
    /// When to stop the pool, if it is gone.
    stop_at_ms: Option<u64>,
}

impl PoolLifecycle {
    pub(crate) fn new(drain_ms: u64) -> Self {
        Self { drain_ms, pools: BTreeMap::new() }
    }

    /// Adopts the pools in `set`. A set that is not synced has no effect: its pools may lack endpoints, and a
    /// pool that it lacks may exist.
    pub(crate) fn adopt(&mut self, now_ms: u64, set: &PoolSet) -> Vec<LifecycleEffect> {
        if !set.is_synced {
            return Vec::new();
        }
        let mut effects = Vec::new();
        for (id, pool) in &set.pools {
            let kept = Kept { spec: Arc::clone(&pool.spec), stop_at_ms: None };
            match self.pools.insert(id.clone(), kept) {
                None => effects.push(LifecycleEffect::Start(id.clone(), Arc::clone(&pool.spec))),
                Some(before) if before.stop_at_ms.is_some() || before.spec != pool.spec => {
                    effects.push(LifecycleEffect::Update(id.clone(), Arc::clone(&pool.spec)));
                }
                Some(_) => {}
            }
        }
        for (id, kept) in &mut self.pools {
            if !set.pools.contains_key(id) && kept.stop_at_ms.is_none() {
                kept.stop_at_ms = Some(now_ms.saturating_add(self.drain_ms));
                effects.push(LifecycleEffect::Retire(id.clone()));
            }
        }
        effects
    }

    /// Returns the pools to stop at `now_ms`, and forgets them.
    pub(crate) fn stop_due(&mut self, now_ms: u64) -> Vec<LifecycleEffect> {
        let is_due = |kept: &Kept| kept.stop_at_ms.is_some_and(|due| due <= now_ms);
        let due: Vec<_> =
            self.pools.iter().filter(|(_, kept)| is_due(kept)).map(|(id, _)| id.clone()).collect();
        self.pools.retain(|_, kept| !is_due(kept));
        due.into_iter().map(LifecycleEffect::Stop).collect()
    }
}

#[cfg(test)]
mod tests;
