//! What the role asks its actor to do.

use std::sync::Arc;
use std::time::Duration;

use signalbox_lease::ClaimRequest;
use signalbox_state::{PoolEffect, RoleEffect, RoleStatus};

use super::{PoolOwnerSetup, State};
use crate::actors::coordination;
use crate::pools::{PoolOwnerMessage, PoolOwnerRef, PublishedHistory};

impl State {
    /// Performs an effect of the role.
    pub(super) fn perform(&mut self, myself: &PoolOwnerRef, effect: RoleEffect) {
        let PoolOwnerSetup { membership, handle, metrics, .. } = &self.setup;
        match effect {
            RoleEffect::Pool(effect) => self.perform_pool_effect(myself, effect),
            RoleEffect::Send(aggregator, message) => {
                if let Some(sender) = self.aggregators.get(&aggregator) {
                    sender.send(message);
                }
            }
            RoleEffect::Claim { above, replacing } => {
                let request = ClaimRequest { above, replacing };
                coordination::claim(membership, &handle.pool, request, myself);
            }
            RoleEffect::Release => coordination::release(membership, &handle.pool),
            RoleEffect::StatusChanged(status) => self.handle_status_change(myself, status),
            RoleEffect::WakeFollowers => handle.wake_followers(self.role.epoch()),
            RoleEffect::HistoryChanged => self.publish_history(),
            RoleEffect::Gap(gap) => {
                metrics.frame_gaps.inc();
                tracing::debug!(pool = %handle.pool, %gap, "cannot apply a frame from the owner");
            }
            RoleEffect::EpochRefused(epoch) => {
                if metrics.epochs_refused.inc() == 0 {
                    tracing::warn!(pool = %handle.pool, epoch, "ignoring an epoch that cannot be genuine");
                }
            }
            RoleEffect::HistoryRefused(version) => {
                tracing::warn!(pool = %handle.pool, %version, "not continuing a history whose version cannot be genuine");
            }
            RoleEffect::SnapshotInstalled => {
                let version = self.role.version().unwrap_or_default();
                tracing::info!(pool = %handle.pool, %version, "applied a snapshot");
            }
        }
    }

    /// Lets the streams of followers read the history by themselves, or ends that.
    fn publish_history(&self) {
        let clock_start = self.started;
        let published = self.role.history().map(|history| PublishedHistory { history, clock_start });
        self.setup.handle.history.store(published.map(Arc::new));
    }

    fn perform_pool_effect(&mut self, myself: &PoolOwnerRef, effect: PoolEffect) {
        match effect {
            PoolEffect::Published(_) => self.setup.handle.wake_followers(self.role.epoch()),
            PoolEffect::Assign(stream, endpoints) => {
                if let Some(assignment) = self.collectors.get(&stream) {
                    let (stream, endpoints_assigned) = (stream.0, endpoints.len());
                    tracing::info!(stream, endpoints_assigned, "assigned endpoints to a collector");
                    assignment.send_replace(endpoints);
                }
            }
            // Dropping the sender ends the stream.
            PoolEffect::CloseCollector(stream) => {
                tracing::warn!(
                    stream = stream.0,
                    "a collector is silent or has reconnected; reassigning its endpoints"
                );
                self.setup.metrics.collectors_dropped.inc();
                self.collectors.remove(&stream);
            }
            PoolEffect::Unfinished => self.continue_later(myself),
            PoolEffect::GrantAfter(after_ms) => {
                myself.send_after(Duration::from_millis(after_ms), || PoolOwnerMessage::GrantDue);
            }
            PoolEffect::StoreSignal(signal) => {
                self.to_store.send_replace(Some((signal.epoch, signal)));
            }
            PoolEffect::Count(event) => self.setup.metrics.record(event),
            PoolEffect::NeedChain(..) | PoolEffect::Expired(_) | PoolEffect::FeedbackLeft(_) => {}
        }
    }

    fn handle_status_change(&mut self, myself: &PoolOwnerRef, status: RoleStatus) {
        let PoolOwnerSetup { handle, metrics, .. } = &self.setup;
        let version = self.role.version().unwrap_or_default();
        match status {
            RoleStatus::Owner(epoch) => {
                metrics.takeovers.inc();
                tracing::info!(pool = %handle.pool, epoch, %version, "became the pool's owner");
                self.read_stored_signal(myself, epoch);
                self.store_signal_again(epoch);
            }
            RoleStatus::TakingOver(epoch) => {
                tracing::info!(pool = %handle.pool, epoch, %version, "taking the pool over");
            }
            RoleStatus::Standby => {
                tracing::info!(pool = %handle.pool, %version, "became a standby of the pool");
                self.collectors.clear();
                self.to_store.send_replace(None);
            }
        }
        handle.set_status(status);
        self.set_metrics();
    }
}
