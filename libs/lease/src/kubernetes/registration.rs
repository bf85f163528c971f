//! Keeps a member's Lease renewed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use signalbox_kube::{Lease, LeaseError};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::KubernetesCoordinator;
use super::deletions::Deletions;
use super::objects::{self, MemberRun};
use crate::membership::Member;
use crate::outage::OutageTracker;
use crate::renewal_gate::RenewalGate;

pub(super) struct Registration {
    pub(super) coordinator: Arc<KubernetesCoordinator>,
    pub(super) member: Member,
    pub(super) run: MemberRun,
    /// Name of the member's Lease.
    pub(super) object: String,
    pub(super) ttl: Duration,
    /// The Lease as last written; `None` while the member is not registered.
    pub(super) lease: watch::Sender<Option<Lease>>,
    pub(super) gate: RenewalGate,
    pub(super) stop: CancellationToken,
}

impl Registration {
    /// Registers the member, renews its Lease, and registers it again when the Lease is lost, while the gate is open.
    /// Ends after the current request when `stop` is cancelled.
    pub(super) async fn run(self) {
        let (mut outage, mut has_registered) = (OutageTracker::new(), false);
        let mut deletions = Deletions::new(&self.coordinator.mirror, &self.object);
        let mut gate = self.gate.clone();
        while self.stop.run_until_cancelled(gate.opened()).await.is_some() {
            let started = Instant::now();
            deletions.skip_earlier();
            let step = self.coordinator.mirror.timed(self.step(has_registered)).await;
            self.coordinator.pacing.record_other(&step);
            let is_registered = step.is_ok();
            let delay = match step {
                Ok(()) => {
                    has_registered = true;
                    outage.record_success(&format!("{} is registered with Kubernetes", self.member.name));
                    (self.ttl / 3).saturating_sub(started.elapsed())
                }
                Err(error) => {
                    let message =
                        format!("cannot keep {} registered with Kubernetes; retrying", self.member.name);
                    let delay = outage.record_failure(&message, &error, rand::random());
                    // After an outage, others wait for a renewal no longer than the time to live.
                    delay.min(self.ttl / 3).max(error.retry_after())
                }
            };
            tokio::select! {
                () = sleep(delay) => deletions.arm(),
                // Until the Lease exists again, this process owns nothing.
                () = deletions.wait(), if is_registered => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    async fn step(&self, has_registered: bool) -> Result<(), LeaseError> {
        let lease = self.lease.borrow().clone();
        let Some(lease) = lease else { return self.register(has_registered).await };
        match self.write(lease).await {
            Err(LeaseError::Conflict | LeaseError::NotFound) => {
                self.lease.send_replace(None);
                self.register(has_registered).await
            }
            result => result,
        }
    }

    async fn register(&self, has_registered: bool) -> Result<(), LeaseError> {
        self.find_installation().await?;
        let found = self.coordinator.leases.get(&self.object).await?;
        let lease = found.unwrap_or_else(|| Lease { name: self.object.clone(), ..Lease::default() });
        // A process that starts replaces an earlier run of the same name at once. After that, whoever was
        // replaced waits, so that two processes with one name do not replace each other in turn.
        let is_taken = objects::run(&lease).is_some_and(|run| run != self.run);
        if has_registered && is_taken && !self.coordinator.mirror.table().is_expired(&lease) {
            let namespace = self.coordinator.leases.namespace();
            return Err(LeaseError::Refused(format!(
                "another process has taken the Lease {} in namespace {namespace}; give each aggregator its own \
                 --name",
                self.object
            )));
        }
        self.write(lease).await
    }

    /// Finds the installation's Lease, if the watch has not listed the Leases yet. The first registration must depend on
    /// it already: if the chart is uninstalled before the next renewal, nothing else deletes the member's Lease.
    async fn find_installation(&self) -> Result<(), LeaseError> {
        let mirror = &self.coordinator.mirror;
        let is_known = mirror.table().knows_installation();
        if !is_known {
            let list = self.coordinator.leases.list().await?;
            let mut table = mirror.table();
            // What the watch has reported meanwhile is newer.
            if !table.knows_installation() {
                table.find_installation(&list.leases);
            }
        }
        Ok(())
    }

    /// Writes the registration into `lease`, which is new or was read.
    async fn write(&self, mut lease: Lease) -> Result<(), LeaseError> {
        objects::write_member(&mut lease, &self.member, &self.run, self.ttl);
        lease.owner = self.coordinator.mirror.table().owner_of(&lease, Instant::now());
        let leases = &self.coordinator.leases;
        let stored = match lease.resource_version.is_empty() {
            true => leases.create(&lease).await?,
            false => leases.replace(&lease).await?,
        };
        self.lease.send_replace(Some(stored));
        Ok(())
    }
}
