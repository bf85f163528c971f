//! Checks that an owner that knows of a later one does not go on for ever.

use signalbox_state::{PoolRole, RoleStatus};

use super::{ProcessId, StepChecker};
use crate::invariants::Invariant;

/// How much longer than its lease an outranked owner may go on by the clock of the simulation, in microseconds: its own
/// clock may be slower.
const SLACK_US: u64 = 500_000;

impl StepChecker {
    /// Checks an aggregator after a tick.
    pub(crate) fn check_outranked(&mut self, process: ProcessId, role: &PoolRole) {
        let claimed = match role.status() {
            RoleStatus::Owner(epoch) | RoleStatus::TakingOver(epoch) if role.is_outranked() => epoch,
            _ => {
                self.outranked.remove(&process);
                return;
            }
        };
        let before = self.outranked.get(&process).filter(|(epoch, _)| *epoch == claimed);
        let since_us = before.map_or(self.now_us, |(_, since_us)| *since_us);
        self.outranked.insert(process, (claimed, since_us));
        if self.now_us > since_us + self.lease_ttl_us + SLACK_US {
            self.fail(Invariant::OutrankedStepsDown, || {
                format!("{process:?} goes on in epoch {claimed}, although it knows epoch {}", role.epoch())
            });
        }
    }
}
