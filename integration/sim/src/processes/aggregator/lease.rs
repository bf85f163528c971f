//! The lease of an aggregator, and its claims.

use signalbox_state::{ObservedOwner, RoleStatus};

use super::{Aggregator, TICK_MS};
use crate::cluster::Cluster;
use crate::cluster::coordinator::Request;
use crate::cluster::event::Timer;
use crate::counters::Counter;

/// How long the actor may be busy with one event while the lease is renewed and followers get signs of life.
pub(super) const STALL_LIMIT_US: u64 = 1_000_000;

/// How long the aggregator waits for the result of a claim.
const CLAIM_DEADLINE_MS: u64 = 2_000;

impl Aggregator {
    /// Renews the lease, unless the actor is stuck and keeps others from owning the pool. Returns when to do so again,
    /// in milliseconds.
    pub(super) fn renew_lease(&self, cluster: &mut Cluster) -> u64 {
        let is_taken =
            matches!(cluster.coordinator.registry().owner_seen_by(self.node), ObservedOwner::Other { .. });
        let is_stuck = cluster.busy_for_us(self.node) >= STALL_LIMIT_US;
        if is_stuck && !is_taken && self.role.status() != RoleStatus::Standby {
            cluster.counters.increment(Counter::RenewalWithheld);
            return TICK_MS;
        }
        let request = self.lease.map_or(Request::Register, Request::KeepAlive);
        cluster.ask_coordinator(self.node, request);
        cluster.ask_coordinator(self.node, Request::ReadRegistry);
        if self.lease.is_some() { cluster.plan.lease_ttl_ms / 3 } else { 200 }
    }

    pub(super) fn claim(&mut self, cluster: &mut Cluster, above: u64, replacing: Option<u64>) {
        if let Some(epoch) = replacing {
            cluster.record_early_claim(epoch);
        }
        self.claim += 1;
        self.is_claiming = true;
        let number = self.claim;
        match self.lease {
            Some(lease) => {
                cluster.ask_coordinator(self.node, Request::Claim { lease, above, replacing, number });
                cluster.set_timer(self.node, CLAIM_DEADLINE_MS, Timer::ClaimDeadline(number));
            }
            None => cluster.set_timer(self.node, 0, Timer::ClaimDeadline(number)),
        }
    }
}
