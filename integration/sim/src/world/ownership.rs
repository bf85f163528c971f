//! Checks that the pool has exactly one owner when there are no faults.

use signalbox_state::RoleStatus;

use crate::cluster::event::Event;
use crate::counters::Counter;
use crate::invariants::Invariant;
use crate::plan::Node;
use crate::world::World;

/// How often leases and owners are checked, in microseconds.
const CHECK_INTERVAL_US: u64 = 25_000;

/// Time without faults after which at most one aggregator owns the pool, in microseconds.
const ONE_OWNER_WITHIN_US: u64 = 4_000_000;

/// Time without faults after which no standby replaces a running owner, in microseconds.
const OWNER_STAYS_AFTER_US: u64 = 4_000_000;

/// Time without faults after the expiry of a lease after which an aggregator owns the pool, in microseconds.
const OWNED_WITHIN_US: u64 = 5_000_000;

/// The longest time without an owner after that, during a failback, in microseconds.
const FAILBACK_WITHIN_US: u64 = 3_000_000;

/// What earlier checks have found.
#[derive(Debug, Default)]
pub(super) struct OwnershipHistory {
    /// The number of owners at the last check.
    owners: usize,
    /// When the pool last had an owner.
    owned_at_us: u64,
}

impl World {
    /// Returns the aggregators that own the pool, and the epoch of each.
    pub fn owners(&self) -> Vec<(Node, u64)> {
        let owner = |(node, status)| match status {
            RoleStatus::Owner(epoch) => Some((node, epoch)),
            RoleStatus::Standby | RoleStatus::TakingOver(_) => None,
        };
        self.roles().map(|(node, role)| (node, role.status())).filter_map(owner).collect()
    }

    /// Expires leases at the coordinator, and checks the owners.
    pub(super) fn check_leases(&mut self) {
        let now_us = self.cluster.queue.now_us();
        if !self.cluster.coordinator.is_down && self.cluster.coordinator.expire_leases(now_us) {
            self.cluster.publish_registry();
        }
        let owners = self.owners();
        if owners.len() > 1 && self.ownership.owners <= 1 {
            self.cluster.counters.increment(Counter::SplitBrain);
        }
        self.ownership.owners = owners.len();
        let undisturbed_us = self.cluster.undisturbed_us(|_| false);
        let is_reliable = self.cluster.plan.links.loss_ppm == 0 || !self.cluster.accepts_requests;
        if is_reliable && owners.len() > 1 && undisturbed_us >= ONE_OWNER_WITHIN_US {
            self.cluster.checker.fail(Invariant::OneOwner, || format!("{owners:?} own the pool"));
        }
        let replaced = std::mem::take(&mut self.cluster.running_owners_replaced);
        if is_reliable && !replaced.is_empty() && undisturbed_us >= OWNER_STAYS_AFTER_US {
            self.cluster.checker.fail(Invariant::HeardOwnerStays, || format!("{replaced:?} was replaced"));
        }
        if !owners.is_empty() {
            self.ownership.owned_at_us = now_us;
        }
        if let [(owner, _)] = owners[..] {
            self.check_neighbours(owner);
        }
        if is_reliable
            && now_us > self.ownership.owned_at_us + FAILBACK_WITHIN_US
            && undisturbed_us >= OWNED_WITHIN_US + self.cluster.plan.lease_ttl_ms * 1_000
        {
            let statuses: Vec<_> = self.roles().map(|(node, role)| (node, role.status())).collect();
            self.cluster.checker.fail(Invariant::PoolHasOwner, || format!("{statuses:?}"));
        }
        self.cluster.queue.schedule_after_us(CHECK_INTERVAL_US, Event::CheckLeases);
    }
}
