//! The configuration of one aggregator's role in a pool.

use crate::pool::PoolConfig;

/// Configuration of one aggregator's role in a pool.
#[derive(Clone, Debug)]
pub struct PoolRoleConfig {
    /// The unique name of the aggregator.
    pub name: String,
    /// The hash of the pool, by which aggregators are preferred for different pools.
    pub pool_hash: u64,
    /// The configuration of the pool when this aggregator owns it.
    pub pool: PoolConfig,
    /// How long an aggregator without state waits for a follower that has some before it starts from an empty
    /// state, in milliseconds.
    pub takeover_wait_ms: u64,
    /// How long an owner that knows of a later one may go on without a claim of its own, in milliseconds: the time to
    /// live of its lease.
    pub lease_ttl_ms: u64,
    /// How long the preferred aggregator must be alive before the owner hands it the pool, in milliseconds.
    pub failback_after_ms: u64,
}
