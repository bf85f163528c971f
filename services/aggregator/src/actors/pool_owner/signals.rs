//! Exchanges the autoscaling signal with the coordinator and with those who read it.

use std::sync::Arc;
use std::time::Duration;

use signalbox_signal::Signal;
use signalbox_state::{Pool, PoolInput, RoleInput, RoleStatus};
use signalbox_types::PoolId;
use tokio::sync::watch;

use super::State;
use crate::actors::coordination::Membership;
use crate::pools::{PoolOwnerMessage, PoolOwnerRef};

/// How long a new owner waits at most for what the coordinator has stored. Numbers that are older count for nothing.
const READ_TIMEOUT: Duration = Duration::from_millis(signalbox_signal::MAX_AGE_MS);

/// How long to wait after the coordinator did not answer.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The signal to store; the last one counts. `None`: another aggregator stores it.
pub(super) type ToStore = Option<Arc<Signal>>;

impl State {
    /// Publishes the signal of the pool's owner for those who read it here, if it is another one.
    pub(super) fn publish_signal(&self) {
        if let Some(signal) = self.role.pool_state().signal() {
            self.setup.handle.signal.publish(signal, self.role.owner_now_ms(self.now_ms()));
        }
    }

    /// Asks the coordinator what an earlier owner has stored, as the owner of `epoch`, if that is not known.
    pub(super) fn read_stored_signal(&self, myself: &PoolOwnerRef, epoch: u64) {
        if !self.role.pool().is_some_and(Pool::awaits_stored_signal) {
            return;
        }
        let (membership, pool) = (self.setup.membership.clone(), self.setup.handle.pool.clone());
        let myself = myself.clone();
        tokio::spawn(async move {
            let read = tokio::time::timeout(READ_TIMEOUT, read(&membership, &pool)).await;
            let stored = read.unwrap_or_else(|_| {
                tracing::warn!(%pool, "the coordinator does not say which replicas an earlier owner asked for; assessing the pool anew");
                None
            });
            // This fails if the actor has stopped. Its successor asks again.
            let _ = myself.cast(PoolOwnerMessage::StoredSignal { epoch, stored });
        });
    }

    /// Passes on what the coordinator has stored. If the epoch is another one by now, the pool may be, too.
    pub(super) fn handle_stored_signal(&mut self, myself: &PoolOwnerRef, epoch: u64, stored: ToStore) {
        if self.role.status() == RoleStatus::Owner(epoch) {
            self.apply(myself, RoleInput::Pool(PoolInput::StoredSignal(stored)));
        } else if let RoleStatus::Owner(epoch) = self.role.status() {
            self.read_stored_signal(myself, epoch);
        }
    }
}

async fn read(membership: &Membership, pool: &PoolId) -> ToStore {
    let stored = loop {
        match membership.coordinator.read_signal(pool).await {
            Ok(stored) => break stored?,
            Err(error) => tracing::debug!(%pool, %error, "cannot read the stored signal; retrying"),
        }
        tokio::time::sleep(RETRY_AFTER).await;
    };
    match signalbox_wire::decode_signal(stored) {
        Ok(signal) => Some(Arc::new(signal)),
        Err(error) => {
            tracing::warn!(%pool, %error, "ignoring the stored signal");
            None
        }
    }
}

/// Stores each signal that is to be stored, until the actor ends. One that cannot be stored is tried again.
pub(super) async fn store(membership: Membership, pool: PoolId, mut signals: watch::Receiver<ToStore>) {
    while signals.changed().await.is_ok() {
        let mut failed = None;
        loop {
            let latest = signals.borrow_and_update().clone();
            let Some(signal) = latest else { break };
            let encoded = signalbox_wire::encode_signal(&signal);
            let Err(error) = membership.coordinator.publish_signal(&pool, encoded).await else { break };
            if failed.replace(error.clone()).as_ref() != Some(&error) {
                tracing::warn!(%pool, %error, "cannot store which replicas the pool needs; retrying");
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }
}
