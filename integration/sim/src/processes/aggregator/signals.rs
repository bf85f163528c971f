//! What the owner of the pool stores with the coordinator of how many model servers it needs.

use std::sync::Arc;

use signalbox_signal::{Group, Signal};
use signalbox_state::{Pool, PoolInput, RoleInput, RoleStatus};

use super::Aggregator;
use crate::cluster::Cluster;
use crate::cluster::event::Timer;

/// After how long the coordinator answers, or is asked again, in milliseconds.
const READ_MS: u64 = 2;
const RETRY_MS: u64 = 1_000;

impl Aggregator {
    /// Asks what an earlier owner has stored, as the owner of `epoch`.
    pub(super) fn ask_for_signal(&self, cluster: &mut Cluster, epoch: u64) {
        cluster.set_timer(self.node, READ_MS, Timer::ReadSignal(epoch));
    }

    pub(super) fn store_signal(&self, cluster: &mut Cluster, signal: Arc<Signal>) {
        let coordinator = &mut cluster.coordinator;
        // An owner that was replaced stores nothing.
        if !coordinator.is_down && signal.epoch >= coordinator.epoch() {
            coordinator.signal = Some(signal);
        }
    }

    /// Goes on from what is stored, and checks that the owner asks for no less.
    pub(super) fn read_signal(&mut self, cluster: &mut Cluster, epoch: u64) {
        if self.role.status() != RoleStatus::Owner(epoch) {
            return;
        }
        if cluster.coordinator.is_down {
            return cluster.set_timer(self.node, RETRY_MS, Timer::ReadSignal(epoch));
        }
        let stored = cluster.coordinator.signal.clone();
        let is_first = self.role.pool().is_some_and(Pool::awaits_stored_signal);
        self.apply(cluster, RoleInput::Pool(PoolInput::StoredSignal(stored.clone())));
        let (Some(stored), true) = (stored, is_first) else { return };
        for of in &stored.groups {
            let now = self.role.pool_state().signal().map_or(0, |signal| desired(signal, &of.group));
            cluster.checker.check_signal((self.node, self.run), of.desired, now);
        }
    }
}

fn desired(signal: &Signal, group: &Group) -> u32 {
    signal.groups.iter().find(|of| of.group == *group).map_or(0, |of| of.desired)
}
